import { spawn } from 'node:child_process';
import { release, type } from 'node:os';
import { join } from 'node:path';
import { closeSync, readFileSync, unlinkSync, writeFileSync, writeSync } from 'node:fs';
import { isFailure, native, packageRoot } from '../binding.js';
import { Primary } from '../cluster/primary.js';
import { Single } from '../cluster/single.js';
import { runWorker } from '../cluster/worker.js';
import { ErrorLog, errnoText, writeError } from '../cluster/log.js';
import { compile, type Compiled } from '../conf/compile.js';
import type { Plan } from '../conf/plan.js';
import { ConfigError } from '../errors.js';
import { nginxPaths, parseNginxOptions, type NginxOptions, type Paths } from './nginx-options.js';
import { HELP_TEXT, NGINX_VERSION, configureText, versionText } from './nginx-version.js';
import { testConfiguration } from './nginx-test.js';

/** Where the launcher waits for a word, in mode `wait`. */
const LAUNCHER = 3;
const SERVER_VERSION = `nginx/${NGINX_VERSION}`;

const SIGNALS = { stop: 'SIGTERM', quit: 'SIGQUIT', reopen: 'SIGUSR1', reload: 'SIGHUP' } as const;

/**
 * `args[0]` is the mode. `run`: this process is the command. `wait`: a launcher waits for a word; the process has been
 * started in the background. `worker`: the primary has started it.
 */
export async function main(args: readonly string[]): Promise<void> {
  const [mode = 'run', ...rest] = args;
  const setArguments = (): void =>
    native().setArguments([join(packageRoot, 'bin/moonphase-nginx'), ...rest]);
  if (mode === 'worker') {
    setArguments();
    return runWorker(SERVER_VERSION);
  }
  const options = parseNginxOptions(rest);
  if ('error' in options) return fail(`nginx: ${options.error}\n`);
  if (options.version) {
    writeError(versionText());
    if (options.help) writeError(HELP_TEXT);
    if (options.configure) writeError(configureText(process.versions.openssl));
    if (!options.test) return;
  }
  if (options.signal === undefined && !options.test) {
    native().catchSignals();
    setArguments();
  }
  await new Command(options, nginxPaths(options, process.cwd()), mode === 'wait', rest).run();
}

function fail(message: string, code = 1): void {
  writeError(message);
  process.exitCode = code;
}

class Command {
  private readonly log: ErrorLog;
  private answered = false;

  constructor(
    private readonly options: NginxOptions,
    private readonly paths: Paths,
    private readonly launched: boolean,
    private readonly args: readonly string[],
  ) {
    this.log = ErrorLog.open(paths.errorLog);
  }

  async run(): Promise<void> {
    const compiled = this.read();
    if (compiled === undefined) {
      if (this.options.test)
        writeError(`nginx: configuration file ${this.paths.conf} test failed\n`);
      return this.answer('failed', 1);
    }
    const { plan } = compiled;
    if (this.options.test) {
      process.exitCode = await testConfiguration(compiled, this.options, this.paths.conf, this.log);
      return;
    }
    if (this.options.signal !== undefined)
      return this.sendSignal(plan, SIGNALS[this.options.signal]);
    if (this.launched && !plan.process.daemon) return this.answer('foreground', 0);
    if (!this.launched && plan.process.daemon) return this.launch();
    await this.serve(plan);
  }

  /** Undefined: the configuration is wrong, and that has been said. */
  private read(): Compiled | undefined {
    const { options, paths, log } = this;
    try {
      const compiled = compile({
        prefix: paths.prefix,
        confFile: paths.conf,
        globals: options.params,
        errorLog: paths.errorLog === '' ? 'stderr' : paths.errorLog,
        regexError: (pattern, caseless) => native().regexError(pattern, caseless),
      });
      for (const { level, message } of compiled.notices) log.write(level, message);
      return compiled;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      log.write('emerg', error.message);
      return undefined;
    }
  }

  private async serve(plan: Plan): Promise<void> {
    const { log } = this;
    try {
      log.use(plan);
    } catch (error) {
      log.write('emerg', (error as Error).message);
      return this.answer('failed', 1);
    }
    log.write('notice', `${SERVER_VERSION}, node ${process.version}`);
    log.write('notice', `OS: ${type()} ${release()}`);
    const { master_process: primary, daemon } = plan.process;
    const reread = (): Plan | undefined => this.read()?.plan;
    if (primary) process.title = ['nginx: master process moonphase-nginx', ...this.args].join(' ');
    const service = primary
      ? new Primary({
          log,
          worker: [process.execPath, ...process.execArgv, process.argv[1] ?? '', 'worker'],
          reread,
          workerTitle: 'nginx: worker process',
          agentTitle: 'nginx: privileged agent process',
          daemon,
        })
      : new Single({ log, serverVersion: SERVER_VERSION, reread });
    if (daemon) native().daemonise();
    if (!(await service.start(plan)) || !this.writePid(plan.process.pid)) {
      return this.answer('failed', 1, true);
    }
    this.settle(daemon);
    await service.run();
    this.removePid(plan.process.pid);
    process.exit(0);
  }

  /** The start is over: the terminal is not ours any more. */
  private settle(daemon: boolean): void {
    const { log } = this;
    log.terminal = false;
    if (daemon && log.file !== undefined) {
      const result = native().redirectStderr(log.file);
      if (isFailure(result))
        log.write('alert', `${result.call} failed (${result.errno}: ${result.text})`);
    }
    this.answer('ready', 0);
  }

  private writePid(path: string): boolean {
    try {
      writeFileSync(Buffer.from(path, 'latin1'), `${process.pid}\n`, { mode: 0o644 });
      return true;
    } catch (error) {
      this.log.write('emerg', `open() "${path}" failed (${errnoText(error)})`);
      return false;
    }
  }

  private removePid(path: string): void {
    try {
      unlinkSync(Buffer.from(path, 'latin1'));
    } catch (error) {
      this.log.write('alert', `unlink() "${path}" failed (${errnoText(error)})`);
    }
  }

  private sendSignal(plan: Plan, signal: NodeJS.Signals): void {
    const { log } = this;
    const { pid: path } = plan.process;
    let text: string;
    try {
      text = readFileSync(Buffer.from(path, 'latin1'), 'latin1').trimEnd();
    } catch (error) {
      log.write('error', `open() "${path}" failed (${errnoText(error)})`);
      process.exitCode = 1;
      return;
    }
    if (!/^[0-9]+$/.test(text)) {
      log.write('error', `invalid PID number "${text}" in "${path}"`);
      process.exitCode = 1;
      return;
    }
    try {
      process.kill(Number(text), signal);
    } catch (error) {
      log.write('alert', `kill(${text}, ${signal}) failed (${errnoText(error)})`);
      process.exitCode = 1;
    }
  }

  /** One word to the launcher; `exit`: end even though something is still open. */
  private answer(word: 'ready' | 'failed' | 'foreground', code: number, exit = false): void {
    if (this.launched && !this.answered) {
      this.answered = true;
      try {
        writeSync(LAUNCHER, word);
        closeSync(LAUNCHER);
      } catch {
        // the launcher was killed
      }
    }
    if (word === 'ready') return;
    process.exitCode = code;
    if (exit) process.exit(code);
  }

  /** This process is the command, but the server is to be a daemon: another one serves. */
  private launch(): void {
    this.log.close();
    const child = spawn(
      process.execPath,
      [...process.execArgv, process.argv[1] ?? '', 'wait', ...this.args],
      { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] },
    );
    let word = '';
    const pipe = child.stdio[LAUNCHER] as NodeJS.ReadableStream | null;
    pipe?.setEncoding('latin1');
    pipe?.on('data', (text: string) => {
      word += text;
    });
    pipe?.on('end', () => process.exit(word === 'ready' ? 0 : 1));
    child.on('error', (error) => {
      writeError(`nginx: [alert] ${error.message}\n`);
      process.exit(1);
    });
  }
}
