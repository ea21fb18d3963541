import type { Conf } from './conf.js';
import type { Setter } from './directive.js';
import { parseSize } from './numbers.js';
import type { ErrorLog, LogLevel, LogTarget } from './plan.js';

const LEVELS: readonly LogLevel[] = [
  'emerg',
  'alert',
  'crit',
  'error',
  'warn',
  'notice',
  'info',
  'debug',
];
const DEBUG_LEVELS = [
  'debug_core',
  'debug_alloc',
  'debug_mutex',
  'debug_event',
  'debug_http',
  'debug_mail',
  'debug_stream',
];

/** `error_log FILE [LEVEL]`, at any level of the configuration. */
export const setErrorLog: Setter = (cf, [target = '', ...levels], row) => {
  const log = cf.log(logTarget(cf, target));
  let level: LogLevel | undefined;
  for (const word of levels) {
    const known = LEVELS.find((l) => l === word);
    if (known === undefined && !DEBUG_LEVELS.includes(word))
      throw cf.error(`invalid log level "${word}"`);
    if (known !== undefined && level !== undefined) throw cf.error(`duplicate log level "${word}"`);
    if (known === undefined && level !== undefined && level !== 'debug')
      throw cf.error(`invalid log level "${word}"`);
    level = known ?? 'debug';
  }
  cf.list<ErrorLog>(row).push({ log, level: level ?? 'error' });
};

function logTarget(cf: Conf, target: string): LogTarget {
  if (target === 'stderr') return { kind: 'stderr', path: '' };
  if (target.startsWith('memory:')) {
    const bytes = parseSize(target.slice(7));
    if (bytes === undefined || bytes < 2048)
      throw cf.error(`invalid buffer size "${target.slice(7)}"`);
    return { kind: 'memory', path: String(bytes) };
  }
  if (target.startsWith('syslog:')) return { kind: 'syslog', path: checkSyslog(cf, target) };
  return { kind: 'file', path: cf.fullName(target) };
}

const FACILITIES =
  `kern user mail daemon auth intern lpr news uucp clock authpriv ftp ntp audit alert cron local0 local1
  local2 local3 local4 local5 local6 local7`.split(/\s+/);
const SEVERITIES = ['emerg', 'alert', 'crit', 'error', 'warn', 'notice', 'info', 'debug'];

/** Checks `syslog:server=…,facility=…`; returns the parameters. */
export function checkSyslog(cf: Conf, text: string): string {
  cf.part('syslog:');
  const parameters = text.slice('syslog:'.length);
  const seen = new Set<string>();
  for (const parameter of parameters.split(',')) {
    const [key = '', value] = parameter.split(/=(.*)/s);
    const known =
      parameter === 'nohostname' ||
      (value !== undefined && ['server', 'facility', 'severity', 'tag'].includes(key));
    if (!known) throw cf.error(`unknown syslog parameter "${parameter}"`);
    if (value === undefined) continue;
    if (seen.has(key)) throw cf.error(`duplicate syslog "${key}"`);
    seen.add(key);
    if (key === 'facility' && !FACILITIES.includes(value))
      throw cf.error(`unknown syslog facility "${value}"`);
    if (key === 'severity' && !SEVERITIES.includes(value))
      throw cf.error(`unknown syslog severity "${value}"`);
    if (key === 'tag' && value.length > 32) throw cf.error('syslog tag length exceeds 32');
    if (key === 'tag' && /[^A-Za-z0-9_]/.test(value)) {
      throw cf.error('syslog "tag" only allows alphanumeric characters and underscore');
    }
  }
  if (!seen.has('server')) throw cf.error('no syslog server specified');
  return parameters;
}
