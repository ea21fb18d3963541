import { lualib, native } from '../binding.js';
import type { GatewayStats, NativeGateway, NativeGatewayOptions } from '../binding.js';
import type { Compiled } from '../conf/compile.js';
import type { Plan } from '../conf/plan.js';
import { MoonphaseError } from '../errors.js';
import { Door } from '../adapters/door.js';
import { Lua } from '../luavm.js';
import { loadHandlers } from '../phases/handlers.js';
import { Sockets, type OnFailure } from './sockets.js';

type Functions = Compiled['functions'];
export type ServerOptions = Omit<NativeGatewayOptions, 'lualib' | 'userLualib'>;

/** A plan that is served by this process: the native gateway and its listening sockets. A reload swaps the plan. */
export class Server {
  readonly sockets = new Sockets();
  private readonly gateway: NativeGateway;
  #door: Door | undefined;
  private closing = false;
  private ended = false;
  private loaded = false;

  constructor(options: ServerOptions) {
    this.gateway = new (native().Gateway)({
      ...options,
      lualib,
      userLualib: process.env['MOONPHASE_LUALIB'],
    });
  }

  /** Where requests of other servers come in. */
  get door(): Door {
    return (this.#door ??= new Door(this.gateway));
  }

  /** Whether there is something to serve, and no end in sight. */
  get running(): boolean {
    return !this.closing && this.loaded;
  }

  /**
   * Serves the plan. Its addresses are taken first, so that one that is in use is known before Lua code runs.
   * Rejects with a `MoonphaseError`; a plan that is served already then goes on. Does nothing once the end has begun.
   */
  serve(
    plan: Plan,
    onFailure: OnFailure = () => undefined,
    functions: Functions = [],
  ): Promise<void> {
    return this.onItsSockets(plan, onFailure, () => this.load(plan, functions));
  }

  /** Listens for the plan that is loaded already. */
  listen(plan: Plan): Promise<void> {
    return this.onItsSockets(
      plan,
      () => undefined,
      async () => undefined,
    );
  }

  private async onItsSockets(
    plan: Plan,
    onFailure: OnFailure,
    load: () => Promise<void>,
  ): Promise<void> {
    const failures: string[] = [];
    const acquired = await this.sockets.acquire(plan.http?.listens ?? [], (message) => {
      failures.push(message);
      onFailure(message);
    });
    if (acquired === undefined) {
      throw new MoonphaseError('ERR_MOONPHASE_LISTEN', failures[0] ?? 'no address');
    }
    try {
      if (!this.closing) await load();
    } catch (error) {
      acquired.undo();
      throw error;
    }
    if (this.closing) return acquired.undo();
    this.gateway.listen(acquired.descriptors[0] ?? []);
    acquired.commit(false);
  }

  /** As `serve`, on descriptors that were made elsewhere. */
  async serveOn(plan: Plan, descriptors: readonly number[]): Promise<void> {
    await this.load(plan);
    if (!this.closing) this.gateway.listen(descriptors);
  }

  /** Loads the plan without listening. */
  async load(plan: Plan, functions: Functions = []): Promise<void> {
    const handlers = await loadHandlers(plan, functions);
    if (this.closing) return;
    try {
      await this.gateway.load(plan, handlers);
      this.loaded = true;
    } catch (error) {
      if (this.closing) return; // an end that came meanwhile is no failure
      const code = (error as MoonphaseError).code ?? 'ERR_MOONPHASE_START';
      throw new MoonphaseError(code, (error as Error).message);
    }
  }

  /** The VM of the plan that is served now. */
  lua(): Lua {
    return new Lua(new (native().LuaVM)({ gateway: this.gateway }));
  }

  stats(): GatewayStats {
    return this.gateway.stats();
  }

  /** What `init_by_lua` has asked for by `ngx.process.enable_privileged_agent`: its connections. */
  privilegedAgent(): number | undefined {
    return this.gateway.privilegedAgent();
  }

  reopenLogs(): void {
    if (!this.ended) this.gateway.reopenLogs();
  }

  /** Accepts nothing more, lets what runs finish; after `timeout` ms that is cut off. */
  async quit(timeout?: number): Promise<void> {
    if (this.closing) return;
    this.closing = true;
    const done = this.gateway.quit();
    this.sockets.forget();
    const timer =
      timeout === undefined || timeout <= 0
        ? undefined
        : setTimeout(() => this.terminate(), timeout);
    try {
      await done;
    } finally {
      clearTimeout(timer);
      this.ended = true;
    }
  }

  terminate(): void {
    if (this.ended) return;
    this.closing = true;
    this.ended = true;
    this.gateway.terminate();
    this.sockets.forget();
  }
}
