import type { Conf } from './conf.js';
import type { Setter } from './directive.js';
import { parseSize } from './numbers.js';
import { syslog } from './syslog.js';
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
  if (target.startsWith('syslog:')) return { kind: 'syslog', path: '', syslog: syslog(cf, target) };
  return { kind: 'file', path: cf.fullName(target) };
}
