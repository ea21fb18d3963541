import { existsSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { isFailure, native, packageRoot } from '../binding.js';
import { ErrorLog, errnoText } from '../cluster/log.js';
import { Primary } from '../cluster/primary.js';
import { Single } from '../cluster/single.js';
import { runWorker } from '../cluster/worker.js';
import { compile, type Compiled } from '../conf/compile.js';
import type { ListenPlan, Plan } from '../conf/plan.js';
import { ConfigError, MoonphaseError } from '../errors.js';
import { testConfiguration } from './nginx-test.js';
import { main as resty } from './resty.js';
import { readPid, shdict } from './shdict.js';
import { writeTypes } from './types.js';
import { Watcher, shown } from './watch.js';

const HELP = `Usage: moonphase COMMAND [options]

Commands:
  serve            serve an nginx.conf in the foreground
  test             check an nginx.conf
  reload           tell a running server to read its configuration again
  stop             stop a running server, after the requests under way (--now: at once)
  shdict COMMAND   look into the shared dictionaries of a running server: list, get, set, del, dump
  types DIR|FILE…  write .d.ts files for Lua modules from their LuaLS annotations
  run FILE [ARGS]  run a Lua file, with ngx.*, cosockets and timers, but no server

Options of serve, test, reload and stop:
  -p, --prefix DIR    directory for relative paths (default: the current one)
  -c, --config FILE   configuration (default: conf/nginx.conf or nginx.conf under the prefix)
  -g, --globals TEXT  directives in front of the configuration
  --next-free         serve: take the next free port where one is in use
  -w, --watch         serve: reload when the configuration or a Lua file has changed

Options of types:
  -o, --out DIR       where they go (default: beside the Lua files)
  --check             write nothing; fail where something would be written

  -h, --help          this help
  -v, --version       version
`;

const OPTIONS = {
  prefix: { type: 'string', short: 'p' },
  config: { type: 'string', short: 'c' },
  globals: { type: 'string', short: 'g' },
  'next-free': { type: 'boolean' },
  now: { type: 'boolean' },
  watch: { type: 'boolean', short: 'w' },
  out: { type: 'string', short: 'o' },
  check: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const;

interface Options {
  readonly prefix: string;
  readonly config: string;
  readonly globals: string | undefined;
  readonly nextFree: boolean;
  readonly now: boolean;
  readonly watch: boolean;
}

/** The command for people. The result is the exit code; `serve` ends the process itself. */
export async function main(args: readonly string[]): Promise<number> {
  const [command = '', ...rest] = args;
  if (command === 'worker') {
    runWorker('');
    return 0;
  }
  if (command === 'run') return resty(rest);
  if (command === 'shdict') {
    return shdict(rest, ({ prefix, config, globals }) => {
      const log = ErrorLog.toTerminal('moonphase');
      const pid = read(serverOptions({ prefix, config, globals }), log)?.plan.process.pid;
      return pid === undefined ? undefined : readPid(pid);
    });
  }
  let values;
  let positionals;
  try {
    ({ values, positionals } = parseArgs({
      args: command.startsWith('-') ? [...args] : rest,
      options: OPTIONS,
      allowPositionals: command === 'types',
    }));
  } catch (error) {
    return complain((error as Error).message);
  }
  if (command === 'types' && values.help !== true) {
    if (positionals.length === 0) return complain('types: which directory or file?');
    return writeTypes(positionals, { out: values.out, check: values.check === true });
  }
  if (positionals.length > 0) return complain(`unexpected argument "${positionals[0]}"`);
  if (values.help === true || (command === '' && args.length === 0)) {
    process.stdout.write(HELP);
    return 0;
  }
  if (values.version === true) {
    const { version } = JSON.parse(readFileSync(`${packageRoot}/package.json`, 'utf8')) as {
      version: string;
    };
    process.stdout.write(`moonphase ${version}, Node ${process.version}\n`);
    return 0;
  }
  const options = serverOptions(values);
  switch (command) {
    case 'serve':
      return serve(options);
    case 'test':
      return test(options);
    case 'reload':
      return signal(options, 'SIGHUP', 'reloading');
    case 'stop':
      return signal(options, options.now ? 'SIGTERM' : 'SIGQUIT', 'stopping');
    default:
      return complain(command === '' ? 'no command' : `unknown command "${command}"`);
  }
}

function serverOptions(values: {
  prefix?: string | undefined;
  config?: string | undefined;
  globals?: string | undefined;
  'next-free'?: boolean | undefined;
  now?: boolean | undefined;
  watch?: boolean | undefined;
}): Options {
  const prefix = `${resolve(values.prefix ?? '.')}/`;
  return {
    prefix,
    config:
      values.config ?? (existsSync(`${prefix}conf/nginx.conf`) ? 'conf/nginx.conf' : 'nginx.conf'),
    globals: values.globals,
    nextFree: values['next-free'] === true,
    now: values.now === true,
    watch: values.watch === true,
  };
}

function complain(message: string): number {
  process.stderr.write(`moonphase: ${message}\nTry 'moonphase --help'.\n`);
  return 2;
}

/** Undefined: it is wrong, and that has been said. */
function read(options: Options, log: ErrorLog): Compiled | undefined {
  try {
    const compiled = compile({
      prefix: options.prefix,
      confFile: options.config,
      globals: options.globals,
      overrides: { daemon: false },
      regexError: native().regexError,
    });
    for (const { level, message } of compiled.notices) log.write(level, message);
    return compiled;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    log.write('emerg', error.message);
    return undefined;
  }
}

async function test(options: Options): Promise<number> {
  const log = ErrorLog.toTerminal('moonphase');
  const compiled = read(options, log);
  if (compiled === undefined) return 1;
  const nginx = { quiet: false, dump: false };
  return testConfiguration(compiled, nginx, compiled.plan.confFile, log, 'moonphase');
}

async function serve(options: Options): Promise<number> {
  native().catchSignals();
  const log = ErrorLog.toTerminal('moonphase');
  const compiled = read(options, log);
  if (compiled === undefined) return 1;
  let plan = compiled.plan;
  try {
    log.use(plan);
    if (options.nextFree) plan = onFreePorts(plan);
  } catch (error) {
    log.write('emerg', (error as Error).message);
    return 1;
  }
  let { files } = compiled;
  const reread = (): Plan | undefined => {
    const again = read(options, log);
    const next = again?.plan;
    files = again?.files ?? files;
    return next === undefined || !options.nextFree ? next : withPorts(next, plan);
  };
  const service =
    plan.process.master_process && plan.process.worker_processes > 1 && !options.watch
      ? new Primary({
          log,
          worker: [process.execPath, ...process.execArgv, process.argv[1] ?? '', 'worker'],
          reread,
          workerTitle: 'moonphase: worker process',
          agentTitle: 'moonphase: privileged agent process',
          daemon: false,
        })
      : new Single({ log, serverVersion: undefined, reread });
  if (!(await service.start(plan))) process.exit(1);
  try {
    writeFileSync(Buffer.from(plan.process.pid, 'latin1'), `${process.pid}\n`);
  } catch (error) {
    log.write('emerg', `open() "${plan.process.pid}" failed (${errnoText(error)})`);
    process.exit(1);
  }
  process.stdout.write(`moonphase serves ${plan.confFile}\n`);
  for (const listen of plan.http?.listens ?? []) process.stdout.write(`  ${url(listen)}\n`);
  const watcher =
    options.watch && service instanceof Single
      ? watchFiles(service, options.prefix, () => [...files.keys()])
      : undefined;
  await service.run();
  watcher?.close();
  try {
    unlinkSync(Buffer.from(plan.process.pid, 'latin1'));
  } catch {
    // somebody was faster
  }
  process.exit(0);
}

/** `--watch`: a change of the configuration or of a Lua file is a reload; what is wrong leaves the old one in place. */
function watchFiles(service: Single, prefix: string, conf: () => string[]): Watcher {
  const say = (text: string): void => void process.stdout.write(`moonphase: ${text}\n`);
  const fromBytes = (file: string): string => resolve(Buffer.from(file, 'latin1').toString());
  return new Watcher({
    files: () => [
      ...conf().map(fromBytes),
      ...service.luaFiles().map((file) => resolve(prefix, file)),
    ],
    onChange: async (changed) => {
      say(`changed: ${shown(changed, prefix)}`);
      say((await service.reload()) ? 'reloaded' : 'not reloaded: the old configuration goes on');
    },
  });
}

function url({ family, host, port, wildcard, name, ssl }: ListenPlan): string {
  if (family === 'unix') return name;
  const shown = wildcard ? 'localhost' : family === 'inet6' ? `[${host}]` : host;
  return `${ssl ? 'https' : 'http'}://${shown}:${port}/`;
}

function signal(options: Options, name: NodeJS.Signals, doing: string): number {
  const log = ErrorLog.toTerminal('moonphase');
  const compiled = read(options, log);
  if (compiled === undefined) return 1;
  const pid = readPid(compiled.plan.process.pid);
  if (pid === undefined) return 1;
  try {
    process.kill(pid, name);
    process.stdout.write(`moonphase: ${doing} process ${pid}\n`);
    return 0;
  } catch (error) {
    process.stderr.write(`moonphase: ${(error as Error).message}\n`);
    return 1;
  }
}

/** The plan with every address that is in use moved to the next free port. */
function onFreePorts(plan: Plan): Plan {
  const moved = new Map<string, ListenPlan>();
  for (const listen of plan.http?.listens ?? []) {
    if (listen.family === 'unix') continue;
    for (let port = listen.port; ; port++) {
      if (port > 65535) throw new MoonphaseError('ERR_MOONPHASE_LISTEN', 'no free port');
      const tried = atPort(listen, port);
      const result = native().openSocket(tried);
      if (!isFailure(result)) {
        native().closeSocket(result);
        moved.set(listen.name, tried);
        break;
      }
      if (result.text !== 'Address already in use') break;
    }
  }
  return replaceListens(plan, (listen) => moved.get(listen.name) ?? listen);
}

/** The ports that the running plan has found. */
function withPorts(next: Plan, running: Plan): Plan {
  const listens = running.http?.listens ?? [];
  return replaceListens(next, (listen, i) => {
    const now = listens[i];
    return now !== undefined && now.host === listen.host ? atPort(listen, now.port) : listen;
  });
}

function atPort(listen: ListenPlan, port: number): ListenPlan {
  return { ...listen, port, name: listen.name.replace(/:\d+$/, `:${port}`) };
}

function replaceListens(plan: Plan, change: (listen: ListenPlan, i: number) => ListenPlan): Plan {
  if (plan.http === undefined) return plan;
  return { ...plan, http: { ...plan.http, listens: plan.http.listens.map(change) } };
}
