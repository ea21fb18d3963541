import { ProcessType, native } from '../binding.js';
import type { SignalName } from '../binding.js';
import type { Plan } from '../conf/plan.js';
import { Server } from '../gateway/server.js';
import { zoneSpace } from '../gateway/zones.js';
import { levelOf, signalText, type ErrorLog } from './log.js';
import { prepareProcess } from './prepare.js';
import { changedKey } from './zone_keys.js';

export interface SingleOptions {
  readonly log: ErrorLog;
  readonly serverVersion: string | undefined;
  /** Reads the configuration again; undefined: it is wrong, and that is logged. */
  readonly reread: () => Plan | undefined;
}

const LOADED = `
  local files = {}
  for name in pairs(package.loaded) do
    local file = type(name) == "string" and package.searchpath(name, package.path)
    if file then files[#files + 1] = file end
  end
  return files`;

/** `master_process off`: this process serves; a reload swaps the plan and the Lua VM in place. */
export class Single {
  private readonly server: Server;
  private shutdownTimeout: number | undefined;
  private plan: Plan | undefined;
  private ending = false;
  private ended = false;
  private reloading: Promise<void> = Promise.resolve();
  private onEnd: () => void = () => undefined;

  constructor(private readonly options: SingleOptions) {
    this.server = new Server({
      embedded: options.serverVersion === undefined,
      serverVersion: options.serverVersion,
      processType: ProcessType.single,
      masterPid: process.ppid,
      zoneSpace: zoneSpace(process.pid),
    });
  }

  /** Resolves to false when the plan cannot be served, which has been logged then, or a signal has ended it meanwhile. */
  async start(plan: Plan): Promise<boolean> {
    native().watchSignals((name, number, sender) => this.onSignal(name, number, sender));
    native().catchSignals(plan.http?.lua.lua_sa_restart);
    prepareProcess(plan.process, 0, (text) => this.options.log.write('alert', text));
    return (await this.serve(plan)) && !this.ending;
  }

  /** Resolves when the process may exit. */
  run(): Promise<void> {
    return new Promise((resolve) => {
      this.onEnd = resolve;
      if (this.ended) resolve();
    });
  }

  private async serve(plan: Plan): Promise<boolean> {
    const { log } = this.options;
    let complained = false;
    try {
      await this.server.serve(plan, (message) => {
        complained = true;
        log.write('emerg', message);
      });
    } catch (error) {
      const { message } = error as Error;
      if (!complained) log.write(levelOf(message), message);
      return false;
    }
    this.shutdownTimeout = plan.process.worker_shutdown_timeout;
    this.plan = plan;
    return true;
  }

  private onSignal(name: SignalName, number: number, sender: number): void {
    const { log } = this.options;
    const notice = (doing: string): void =>
      log.write('notice', signalText(name, number, sender, doing));
    if (name === 'SIGTERM' || name === 'SIGINT') {
      notice('exiting');
      this.server.terminate();
      this.end();
    } else if (name === 'SIGQUIT') {
      if (this.ending) return;
      this.ending = true;
      notice('shutting down');
      log.write('notice', 'gracefully shutting down');
      void this.server.quit(this.shutdownTimeout).then(() => this.end());
    } else if (name === 'SIGHUP') {
      notice('reconfiguring');
      this.reloading = this.reloading.then(async () => void (await this.reload()));
    } else if (name === 'SIGUSR1') {
      notice('reopening logs');
      log.reopen();
      this.server.reopenLogs();
    }
  }

  /** Reads the configuration again. False: it is wrong, that is logged, and the old one goes on. */
  async reload(): Promise<boolean> {
    if (this.ending) return false;
    this.options.log.write('notice', 'reconfiguring');
    const plan = this.options.reread();
    if (plan === undefined) return false;
    const changed = changedKey(this.plan, plan);
    if (changed !== undefined) this.options.log.write('emerg', changed);
    return changed === undefined && (await this.serve(plan));
  }

  /** The Lua files of the modules that are loaded now. */
  luaFiles(): string[] {
    if (this.ending) return [];
    return Object.values(
      this.server.lua().eval<Record<string, string>>(LOADED, { name: '=(watch)' }),
    );
  }

  private end(): void {
    if (this.ended) return;
    this.ended = true;
    this.ending = true;
    this.options.log.write('notice', 'exit');
    this.onEnd();
  }
}
