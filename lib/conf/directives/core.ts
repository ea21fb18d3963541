import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { geteuid } from 'node:process';
import {
  EVENTS,
  MAIN,
  ignored,
  later,
  loc,
  process,
  type Module,
  type Setter,
  HSL,
} from '../directive.js';
import { DUPLICATE, flag, msec, num, offset, path } from '../kinds.js';
import { parseNumber } from '../numbers.js';
import { setErrorLog } from '../error_log.js';

const workerProcesses: Setter = (cf, [text = '']) => {
  if ('worker_processes' in cf.process) return DUPLICATE;
  const n = text === 'auto' ? availableParallelism() : parseNumber(text);
  if (n === undefined) return 'invalid value';
  cf.process['worker_processes'] = n;
};

/** Whether the system knows a user or group, from its file or (LDAP and the like) from `getent`. */
function accountExists(database: 'passwd' | 'group', name: string): boolean {
  try {
    const lines = readFileSync(`/etc/${database}`, 'latin1').split('\n');
    if (lines.some((line) => line.startsWith(`${name}:`))) return true;
  } catch {
    // no such file: getent knows more
  }
  const found = spawnSync('getent', [database, Buffer.from(name, 'latin1').toString()]);
  return found.error !== undefined || found.status === 0;
}

const user: Setter = (cf, [name = '', group]) => {
  if ('user' in cf.process) return DUPLICATE;
  if (geteuid?.() !== 0) {
    cf.warn(
      'the "user" directive makes sense only if the master process runs with super-user privileges, ignored',
    );
  } else {
    if (!accountExists('passwd', name)) throw cf.error(`getpwnam("${name}") failed`);
    if (group !== undefined && !accountExists('group', group))
      throw cf.error(`getgrnam("${group}") failed`);
  }
  cf.process['user'] = group === undefined ? { name } : { name, group };
};

const priority: Setter = (cf, [text = '']) => {
  if ('worker_priority' in cf.process) return DUPLICATE;
  const n = parseNumber(text.replace(/^[-+]/, ''));
  if (n === undefined) return 'invalid number';
  cf.process['worker_priority'] = text.startsWith('-') ? -n : n;
};

const affinity: Setter = (cf, masks) => {
  if ('worker_cpu_affinity' in cf.process) return DUPLICATE;
  const words = masks[0] === 'auto' ? masks.slice(1) : masks;
  if (masks[0] === 'auto' && masks.length > 2) {
    throw cf.error('invalid number of arguments in "worker_cpu_affinity" directive');
  }
  for (const mask of words) {
    const bad = /[^01 ]/.exec(mask);
    if (bad !== null) throw cf.error(`invalid character "${bad[0]}" in "worker_cpu_affinity"`);
  }
  cf.process['worker_cpu_affinity'] = masks;
};

const env: Setter = (cf, [text = ''], row) => {
  const at = text.indexOf('=');
  cf.list(row).push(
    at < 0 ? { name: text } : { name: text.slice(0, at), value: text.slice(at + 1) },
  );
};

const threadPool: Setter = (cf, [name = '', ...parameters], row) => {
  const pools = cf.list<{ name: string; threads: number; max_queue: number }>(row);
  if (pools.some((p) => p.name === name)) throw cf.error(`duplicate thread pool "${name}"`);
  const pool = { name, threads: 0, max_queue: 65536 };
  for (const parameter of parameters) {
    const [key, value = ''] = parameter.split(/=(.*)/s);
    const n = parseNumber(value);
    if (key === 'threads') {
      if (!n) throw cf.error(`invalid threads value "${parameter}"`);
      pool.threads = n;
    } else if (key === 'max_queue') {
      if (n === undefined) throw cf.error(`invalid max_queue value "${parameter}"`);
      pool.max_queue = n;
    }
  }
  if (pool.threads === 0) throw cf.error('"thread_pool" must have "threads" parameter');
  pools.push(pool);
};

const connections: Setter = (cf, [text = '']) => {
  if ('worker_connections' in cf.process) return DUPLICATE;
  const n = parseNumber(text);
  if (n === undefined) throw cf.error(`invalid number "${text}"`);
  cf.process['worker_connections'] = n;
};

/** Those that nginx has on Linux; the loop is libuv's, whatever is named. */
const EVENT_TYPES = ['select', 'poll', 'epoll'];

const use: Setter = (cf, [text = '']) => {
  if ('use' in cf.process) return DUPLICATE;
  if (!EVENT_TYPES.includes(text)) throw cf.error(`invalid event type "${text}"`);
  cf.process['use'] = text;
};

const events: Setter = (cf) => {
  if ('events' in cf.process) return DUPLICATE;
  cf.process['events'] = true;
  cf.inside('events');
};

const http: Setter = (cf) => {
  if (cf.http !== undefined) return DUPLICATE;
  cf.inside('http', (scope) => {
    cf.http = scope;
  });
};

const LOOP = 'the event loop is libuv, which needs no such setting';

export const coreModule: Module = {
  name: 'core',
  rows: [
    process('daemon', MAIN, 'flag', flag(), { init: true }),
    process('master_process', MAIN, 'flag', flag(), { init: true }),
    process('timer_resolution', MAIN, '1', msec()),
    process('pid', MAIN, '1', path()),
    process('worker_processes', MAIN, '1', workerProcesses, { init: 1 }),
    process('user', MAIN, '12', user),
    process('worker_priority', MAIN, '1', priority),
    process('worker_cpu_affinity', MAIN, '1+', affinity),
    process('worker_rlimit_nofile', MAIN, '1', num()),
    process('worker_rlimit_core', MAIN, '1', offset()),
    process('worker_shutdown_timeout', MAIN, '1', msec()),
    process('working_directory', MAIN, '1', path()),
    process('env', MAIN, '1', env, { init: [] }),
    process('thread_pool', MAIN, '23', threadPool, { field: 'thread_pools', init: [] }),
    process('error_log', MAIN, '1+', setErrorLog, { init: [] }),
    ignored('lock_file', MAIN, '1', 'no lock between workers is needed'),
    ignored('debug_points', MAIN, '1', 'a debugging aid of nginx itself'),
    ignored('pcre_jit', MAIN, 'flag', 'PCRE2 always compiles regular expressions'),
    ignored(
      'ssl_object_cache_inheritable',
      MAIN,
      'flag',
      'certificates are read anew by every worker',
    ),
    ignored(
      'load_module',
      MAIN,
      '1',
      'what modules bring is built in; a directive of one that is not is refused by name',
    ),

    process('events', MAIN, '0', events, { hidden: true, block: '{}' }),
    process('worker_connections', EVENTS, '1', connections, { init: 512 }),
    process('accept_mutex', EVENTS, 'flag', flag(), { init: false }),
    process('multi_accept', EVENTS, 'flag', flag(), { init: false }),
    process('use', EVENTS, '1', use, { hidden: true }),
    ignored('accept_mutex_delay', EVENTS, '1', 'workers do not take turns in accepting'),
    ignored('debug_connection', EVENTS, '1', 'debug logging is switched by error_log'),
    ignored('epoll_events', EVENTS, '1', LOOP),
    ignored('worker_aio_requests', EVENTS, '1', LOOP),

    process('http', MAIN, '0', http, { hidden: true, block: '{}' }),
    ...later(MAIN, 'stream mail', '{}'),
    ...later(MAIN, 'ssl_engine'),
  ],
};

export const errorLogModule: Module = {
  name: 'http_error_log',
  rows: [loc('error_log', HSL, '1+', setErrorLog)],
  mergeLocation: (cf, { conf }) => {
    conf['error_log'] ??= cf.process['error_log'];
  },
};
