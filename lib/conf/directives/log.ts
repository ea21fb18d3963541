import type { Conf } from '../conf.js';
import {
  HSLI,
  HSL,
  HTTP,
  LIMIT_EXCEPT,
  ignored,
  loc,
  main,
  type Module,
  type Setter,
} from '../directive.js';
import { hasVariables } from '../complex.js';
import { parseNumber, parseSize, parseTime } from '../numbers.js';
import { syslog } from '../syslog.js';
import type { AccessLog, Complex, ComplexPart, LogFormat } from '../plan.js';

const COMBINED =
  '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"';

const logFormat: Setter = (cf, [name = '', ...texts]) => {
  combined(cf);
  if (cf.formats.some((f) => f.name === name))
    throw cf.error(`duplicate "log_format" name "${name}"`);
  let escape: LogFormat['escape'] = 'default';
  if (texts[0]?.startsWith('escape=') === true) {
    const word = (texts.shift() as string).slice('escape='.length);
    if (word !== 'json' && word !== 'none' && word !== 'default') {
      throw cf.error(`unknown log format escaping "${word}"`);
    }
    escape = word;
  }
  cf.formats.push({ name, escape, value: compileFormat(cf, texts) });
};

/** A format's texts follow one another; `$1` is no capture here, but the variable of that name. */
function compileFormat(cf: Conf, texts: string[]): Complex {
  const parts: ComplexPart[] = texts.flatMap((text) => {
    const value = cf.complex(text);
    return typeof value === 'string' ? (value === '' ? [] : [value]) : value;
  });
  for (const part of parts) {
    if (typeof part !== 'string' && 'cap' in part) throw cf.error(`unknown "${part.cap}" variable`);
  }
  const joined: ComplexPart[] = [];
  for (const part of parts) {
    const last = joined.at(-1);
    if (typeof part === 'string' && typeof last === 'string')
      joined[joined.length - 1] = last + part;
    else joined.push(part);
  }
  return joined.every((part) => typeof part === 'string') ? joined.join('') : joined;
}

/** `combined` is always there, as the first format. */
function combined(cf: Conf): void {
  if (cf.formats.length === 0) {
    cf.formats.push({ name: 'combined', escape: 'default', value: cf.complex(COMBINED) });
  }
}

interface Logs {
  off: boolean;
  logs: AccessLog[];
}

const accessLog: Setter = (cf, [target = '', ...parameters]) => {
  combined(cf);
  const logs = (cf.scope.loc['access_log'] ??= { off: false, logs: [] }) as Logs;
  if (target === 'off') {
    if (parameters.length > 0) throw cf.error(`invalid parameter "${parameters[0] as string}"`);
    logs.off = true;
    return;
  }
  const server = target.startsWith('syslog:') ? syslog(cf, target) : undefined;
  const name = parameters[0] ?? 'combined';
  const format = cf.formats.findIndex((f) => f.name.toLowerCase() === name.toLowerCase());
  const path = server === undefined ? cf.complex(cf.fullName(target)) : '';
  if (format < 0) throw cf.error(`unknown log format "${name}"`);
  const { buffer, flush, gzip, condition } = logOptions(cf, parameters.slice(1));
  if (flush !== undefined && buffer === undefined) {
    throw cf.error(`no buffer is defined for access_log "${target}"`);
  }
  if (buffer !== undefined && server === undefined && hasVariables(target)) {
    throw cf.error('buffered logs cannot have variables in name');
  }
  if (buffer !== undefined && server !== undefined)
    throw cf.error('logs to syslog cannot be buffered');
  const log: AccessLog = {
    path,
    format,
    ...(server === undefined ? {} : { syslog: server }),
    ...(condition === undefined ? {} : { condition }),
    ...(buffer === undefined ? {} : { buffer }),
    ...(flush === undefined ? {} : { flush }),
    ...(gzip === undefined ? {} : { gzip }),
  };
  if (buffer !== undefined) {
    const key = JSON.stringify([buffer, flush ?? 0, gzip ?? 0]);
    const old = cf.logBuffers.get(path as string);
    if (old !== undefined && old !== key) {
      throw cf.error(`access_log "${target}" already defined with conflicting parameters`);
    }
    cf.logBuffers.set(path as string, key);
  }
  logs.logs.push(log);
};

interface LogOptions {
  buffer?: number;
  flush?: number;
  gzip?: number;
  condition?: Complex;
}

function logOptions(cf: Conf, parameters: string[]): LogOptions {
  const options: LogOptions = {};
  for (const text of parameters) {
    const [key = '', value = ''] = text.split(/=(.*)/s);
    const given = text !== key;
    if (key === 'buffer' && given) {
      const bytes = parseSize(value);
      if (!bytes) throw cf.error(`invalid buffer size "${value}"`);
      options.buffer = bytes;
    } else if (key === 'flush' && given) {
      const ms = parseTime(value);
      if (!ms) throw cf.error(`invalid flush time "${value}"`);
      options.flush = ms;
    } else if (key === 'gzip') {
      cf.part('gzip');
      options.buffer ??= 64 * 1024;
      const level = given ? parseNumber(value) : 1;
      if (level === undefined || level < 1 || level > 9)
        throw cf.error(`invalid compression level "${value}"`);
      options.gzip = level;
    } else if (key === 'if' && given) {
      options.condition = cf.complex(value);
    } else {
      throw cf.error(`invalid parameter "${text}"`);
    }
  }
  return options;
}

export const logModule: Module = {
  name: 'http_log',
  rows: [
    main('log_format', HTTP, '2+', logFormat, { hidden: true }),
    loc('access_log', HSLI | LIMIT_EXCEPT, '1+', accessLog, { hidden: true }),
    ignored(
      'open_log_file_cache',
      HSL,
      '1234',
      'log files with variables in their names are opened for each line',
    ),
  ],
  mergeLocation: (cf, { own, parent, conf }) => {
    combined(cf);
    const logs = own['access_log'] as Logs | undefined;
    const inherited = parent?.['access_log'] as AccessLog[] | undefined;
    conf['access_log'] =
      logs === undefined
        ? (inherited ?? [{ path: cf.fullName('logs/access.log'), format: 0 }])
        : logs.off
          ? []
          : logs.logs;
  },
};
