import { spawn, type ChildProcess } from 'node:child_process';
import { chownSync } from 'node:fs';
import { constants } from 'node:os';
import { isFailure, native } from '../binding.js';
import type { NativeZone, SignalName } from '../binding.js';
import type { Plan } from '../conf/plan.js';
import { Sockets, type Acquired } from '../gateway/sockets.js';
import { zoneSpace } from '../gateway/zones.js';
import { Backoff } from './backoff.js';
import { levelOf, signalText, type ErrorLog } from './log.js';
import type { ToPrimary, ToWorker } from './protocol.js';
import { changedKey } from './zone_keys.js';

/** Descriptors 0 to 2 and the channel come first. */
const FIRST_SOCKET = 4;
/** TERM is repeated at doubling intervals; from this one on it is KILL. */
const PATIENCE = 1000;
const AGENT = -1;

export interface PrimaryOptions {
  readonly log: ErrorLog;
  /** The program that a worker runs, and its arguments. */
  readonly worker: readonly string[];
  /** Reads the configuration again; undefined: it is wrong, and that is logged. */
  readonly reread: () => Plan | undefined;
  /** What `ps` shows of a worker. */
  readonly workerTitle: string;
  readonly agentTitle: string;
  readonly daemon: boolean;
  /** USR2: starts a new program on our sockets; resolves when it has ended again. */
  readonly upgrade?: (sockets: Sockets, plan: Plan) => Promise<void>;
}

interface Worker {
  readonly child: ChildProcess;
  /** `AGENT`: it is the privileged agent. */
  readonly id: number;
  readonly generation: Generation;
  readonly started: number;
  state: 'starting' | 'ready' | 'ending';
  settle: (failure: string | undefined) => void;
}

/** A plan and the workers that serve it. */
interface Generation {
  readonly plan: Plan;
  readonly descriptors: readonly (readonly number[])[];
  /** Memory of the shared dictionaries and upstreams: that of the plan before, where name and size are the same. */
  readonly zones: readonly { readonly name: string; readonly zone: NativeZone }[];
  /** Its workers are replaced when they die. */
  current: boolean;
  /** What its init_by_lua wants; undefined: no privileged agent. */
  agentConnections?: number | undefined;
}

/** The primary process: owns the sockets, starts workers, follows signals. */
export class Primary {
  readonly sockets = new Sockets();
  /** What all workers count together; it lives as long as this process. */
  private readonly statistics = native().openStatistics();
  private readonly zoneSpace = zoneSpace(process.pid);
  private readonly workers = new Set<Worker>();
  private readonly backoff = new Backoff();
  private generation: Generation | undefined;
  private detached = false;
  private ending: 'quit' | 'terminate' | undefined;
  private resting = false;
  /** A worker of a configuration of before has ended since created dictionaries were last released. */
  private unasked = false;
  private ended = false;
  private reloading: Promise<void> = Promise.resolve();
  private onEnd: () => void = () => undefined;

  constructor(private readonly options: PrimaryOptions) {}

  /** Resolves to false when the plan cannot be served; that has been logged then. */
  async start(plan: Plan): Promise<boolean> {
    native().watchSignals((name, number, sender) => this.onSignal(name, number, sender));
    return (await this.serve(plan, false)) === undefined;
  }

  /** The start is over: workers give up the terminal. Resolves when the last worker has ended. */
  run(): Promise<void> {
    this.detached = true;
    const message: ToWorker = { type: 'detach', stderr: this.options.log.file };
    for (const { child } of this.workers) send(child, message);
    return new Promise((resolve) => {
      this.onEnd = resolve;
      if (this.ended) resolve();
      else this.checkEnd();
    });
  }

  private onSignal(name: SignalName, number: number, sender: number): void {
    const { log } = this.options;
    const notice = (doing: string): void =>
      log.write('notice', signalText(name, number, sender, doing));
    switch (name) {
      case 'SIGTERM':
      case 'SIGINT':
        notice('exiting');
        return this.terminate();
      case 'SIGQUIT':
        notice('shutting down');
        return this.quit();
      case 'SIGHUP':
        notice('reconfiguring');
        this.reloading = this.reloading.then(() => this.reload());
        return;
      case 'SIGUSR1':
        notice('reopening logs');
        return this.reopen();
      case 'SIGUSR2':
        notice('changing binary');
        return this.upgrade();
      case 'SIGWINCH':
        if (!this.options.daemon) return;
        notice('stop accepting connections');
        this.resting = true;
        this.signal('SIGQUIT');
    }
  }

  // ---- plans

  private async reload(): Promise<void> {
    if (this.ending !== undefined) return;
    const { log } = this.options;
    log.write('notice', 'reconfiguring');
    if (this.resting && this.generation !== undefined) {
      // as nginx after a failed upgrade: the old plan serves again
      this.resting = false;
      await this.serve(this.generation.plan, true);
      return;
    }
    const plan = this.options.reread();
    if (plan === undefined) return;
    const changed = changedKey(this.generation?.plan, plan);
    if (changed !== undefined) log.write('emerg', changed);
    else await this.serve(plan, true);
  }

  /** Starts workers on a plan; when they serve, those of the one before end. The result is why that failed. */
  private async serve(plan: Plan, running: boolean): Promise<string | undefined> {
    const { log } = this.options;
    const count = plan.process.worker_processes;
    const acquired = await this.sockets.acquire(
      plan.http?.listens ?? [],
      (message) => log.write('emerg', message),
      count,
    );
    if (acquired === undefined) return 'no sockets';
    const zones: { name: string; zone: NativeZone }[] = [];
    try {
      for (const dict of plan.http?.lua.shared_dicts ?? []) {
        zones.push({ name: dict.name, zone: native().openZone(dict) });
      }
      for (const { name, size } of plan.http?.upstream_zones ?? []) {
        zones.push({ name, zone: native().openZone({ name, size, plain: true }) });
      }
      for (const { name, size } of plan.http?.caches ?? []) {
        zones.push({ name, zone: native().openZone({ name, size, plain: true }) });
      }
      const { limit_zones = [], session_zones = [] } = plan.http ?? {};
      for (const { name, size } of [...limit_zones, ...session_zones]) {
        const zone = native().openZone({ name, size, exact: true, any: false });
        zones.push({ name, zone });
      }
    } catch (error) {
      log.write('emerg', (error as Error).message);
      acquired.undo();
      closeZones(zones);
      return 'no memory';
    }
    const { descriptors } = acquired;
    const generation: Generation = { plan, descriptors, zones, current: true };
    const failures = await Promise.all(
      Array.from({ length: count }, (_, id) => this.startWorker(generation, id, false)),
    );
    const failure = failures.find((f) => f !== undefined);
    if (failure !== undefined || this.ending !== undefined) {
      if (failure !== undefined && this.ending === undefined) log.write(levelOf(failure), failure);
      generation.current = false;
      this.signal('SIGTERM', (w) => w.generation === generation);
      acquired.undo();
      closeZones(zones);
      if (!running) await this.allGone();
      return failure ?? 'ending';
    }
    this.replace(generation, acquired);
    await this.startAgent(generation);
    return undefined;
  }

  private replace(generation: Generation, acquired: Acquired): void {
    const old = this.generation;
    this.generation = generation;
    if (old !== undefined) {
      old.current = false;
      this.signal('SIGQUIT', (w) => w.generation === old);
      closeZones(old.zones);
    }
    acquired.commit(true);
  }

  // ---- workers

  /** The privileged agent, once workers have told that their init_by_lua wants one. */
  private async startAgent(generation: Generation): Promise<void> {
    const { agentConnections } = generation;
    if (agentConnections === undefined) return;
    if (agentConnections === 0) {
      this.options.log.write(
        'alert',
        '0 worker_connection is not enough, privileged agent process cannot be spawned',
      );
      return;
    }
    const failure = await this.startWorker(generation, AGENT, false);
    if (failure !== undefined && this.ending === undefined)
      this.options.log.write('alert', failure);
  }

  /** Resolves when the worker serves, or to the reason why it does not. */
  private startWorker(
    generation: Generation,
    id: number,
    respawned: boolean,
  ): Promise<string | undefined> {
    const { options } = this;
    const agent = id === AGENT;
    const descriptors = agent
      ? []
      : (generation.descriptors[id] ?? generation.descriptors[0] ?? []);
    const zones = generation.zones.map(({ zone }) => zone.fd);
    const distinct = [...new Set([...descriptors, ...zones, this.statistics.fd])];
    const inWorker = (fd: number): number => FIRST_SOCKET + distinct.indexOf(fd);
    const [program = process.execPath, ...args] = options.worker;
    const child = spawn(program, args, {
      stdio: ['inherit', 'inherit', 'inherit', 'ipc', ...distinct],
    });
    return new Promise((resolve) => {
      const worker: Worker = {
        child,
        id,
        generation,
        started: performance.now(),
        state: 'starting',
        settle: (failure) => {
          worker.settle = () => undefined;
          resolve(failure);
        },
      };
      this.workers.add(worker);
      if (child.pid !== undefined)
        options.log.write('notice', `start ${nameOf(worker)} ${child.pid}`);
      child.on('message', (message: ToPrimary) => this.onMessage(worker, message));
      child.on('error', (error) => {
        options.log.write('alert', `a worker process could not be started: ${error.message}`);
        if (child.pid === undefined) this.onExit(worker, null, null);
      });
      child.on('exit', (code, signal) => this.onExit(worker, code, signal));
      send(child, {
        type: 'start',
        plan: generation.plan,
        id,
        count: generation.descriptors.length,
        respawned,
        descriptors: descriptors.map(inWorker),
        zones: generation.zones.map(({ name, zone }) => ({ name, fd: inWorker(zone.fd) })),
        stats: inWorker(this.statistics.fd),
        title: agent ? options.agentTitle : options.workerTitle,
        agent,
      });
      if (this.detached) send(child, { type: 'detach', stderr: options.log.file });
    });
  }

  private onMessage(worker: Worker, message: ToPrimary): void {
    if (message.type === 'ready') {
      worker.generation.agentConnections = message.privilegedAgent;
      if (worker.state === 'starting') worker.state = 'ready';
      worker.settle(undefined);
      this.releaseZones();
    } else {
      worker.state = 'ending';
      worker.settle(message.message);
    }
  }

  private onExit(worker: Worker, code: number | null, signal: string | null): void {
    const { log } = this.options;
    this.workers.delete(worker);
    const { pid } = worker.child;
    if (pid !== undefined && worker.state !== 'ending') {
      const how =
        signal === null
          ? `exited with code ${code ?? 0}`
          : `exited on signal ${constants.signals[signal as NodeJS.Signals]}`;
      log.write(
        code === 0 && signal === null ? 'notice' : 'alert',
        `${nameOf(worker)} ${pid} ${how}`,
      );
    }
    const failed = worker.state === 'starting';
    worker.settle(`${nameOf(worker)} ${pid ?? ''} did not start`);
    const again = worker.generation.current && worker.generation === this.generation;
    if (again && this.ending === undefined && !this.resting && code === 2 && failed) {
      log.write(
        'alert',
        `${nameOf(worker)} ${pid ?? ''} exited with fatal code 2 and cannot be respawned`,
      );
    } else if (again && this.ending === undefined && !this.resting) {
      const delay = this.backoff.next(performance.now() - worker.started);
      setTimeout(() => this.respawn(worker), delay);
    }
    if (!worker.generation.current) this.unasked = true;
    this.releaseZones();
    this.checkEnd();
  }

  /**
   * Dictionaries that workers have created stay while workers are missing, so that those which take their places find them,
   * and go when all workers of a new configuration serve, the old ones have ended and nobody has asked again.
   */
  private releaseZones(): void {
    if (this.zoneSpace === undefined) return;
    const workers = [...this.workers];
    const over = this.ending !== undefined && workers.length === 0;
    const settled =
      this.unasked &&
      workers.every((w) => w.generation === this.generation && w.state === 'ready') &&
      workers.filter((w) => w.id !== AGENT).length === this.generation?.descriptors.length;
    if (!over && !settled) return;
    this.unasked = false;
    native().removeUnusedZones(this.zoneSpace);
  }

  private respawn({ generation, id }: Worker): void {
    if (!generation.current || this.ending !== undefined || this.resting) return;
    void this.startWorker(generation, id, true).then((failure) => {
      if (failure !== undefined && this.ending === undefined)
        this.options.log.write('alert', failure);
    });
  }

  private signal(name: NodeJS.Signals, which: (w: Worker) => boolean = () => true): void {
    for (const worker of this.workers) {
      if (!which(worker)) continue;
      if (name !== 'SIGUSR1') worker.state = 'ending';
      worker.child.kill(name);
    }
  }

  // ---- the end

  private quit(): void {
    if (this.ending !== undefined) return;
    this.ending = 'quit';
    this.sockets.close();
    this.signal('SIGQUIT');
    this.checkEnd();
  }

  private terminate(): void {
    if (this.ending === 'terminate') return;
    this.ending = 'terminate';
    this.sockets.close();
    const push = (delay: number): void => {
      if (this.workers.size === 0) return;
      this.signal(delay > PATIENCE ? 'SIGKILL' : 'SIGTERM');
      setTimeout(() => push(delay * 2), delay);
    };
    push(50);
    this.checkEnd();
  }

  private checkEnd(): void {
    if (this.ending === undefined || this.workers.size > 0 || this.ended) return;
    this.ended = true;
    this.options.log.write('notice', 'exit');
    this.onEnd();
  }

  private async allGone(): Promise<void> {
    await Promise.all([...this.workers].map((w) => new Promise((r) => w.child.once('exit', r))));
  }

  // ---- the rest

  /** Log files are made here, where there may be the right to, and belong to those who will write to them. */
  private reopen(): void {
    const { log } = this.options;
    log.write('notice', 'reopening logs');
    log.reopen();
    const plan = this.generation?.plan;
    const user = plan?.process.user;
    const account = user === undefined ? undefined : native().account(user.name, user.group);
    if (
      plan !== undefined &&
      account !== undefined &&
      !isFailure(account) &&
      process.geteuid?.() === 0
    ) {
      for (const target of plan.logs) {
        if (target.kind !== 'file') continue;
        try {
          chownSync(Buffer.from(target.path, 'latin1'), account.uid, account.gid);
        } catch {
          // it does not exist yet
        }
      }
    }
    this.signal('SIGUSR1');
  }

  private upgrade(): void {
    const plan = this.generation?.plan;
    if (plan === undefined || this.options.upgrade === undefined) return;
    this.options.upgrade(this.sockets, plan).catch((error: unknown) => {
      this.options.log.write('alert', (error as Error).message);
    });
  }
}

function nameOf({ id }: Worker): string {
  return id === AGENT ? 'privileged agent process' : 'worker process';
}

function closeZones(zones: Generation['zones']): void {
  for (const { zone } of zones) zone.close();
}

function send(child: ChildProcess, message: ToWorker): void {
  if (child.connected) child.send(message, () => undefined);
}
