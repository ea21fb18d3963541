import { MoonphaseError } from '../errors.js';
import type { Lua } from '../luavm.js';

/** A server of an upstream, as `server` directives have it. */
export interface UpstreamServerOptions {
  /** `10.0.0.1:8080`, `[::1]:8080`, `unix:/path`. */
  readonly address: string;
  readonly weight?: number;
  readonly maxFails?: number;
  /** In seconds. */
  readonly failTimeout?: number;
  readonly maxConns?: number;
  readonly backup?: boolean;
  readonly down?: boolean;
}

export interface UpstreamServerState extends Required<UpstreamServerOptions> {
  /** As configured: the name that the address was resolved from, where there is one. */
  readonly server: string;
  readonly fails: number;
  /** Requests that are under way there. */
  readonly conns: number;
}

export type UpstreamMethod = 'round_robin' | 'least_conn' | 'ip_hash' | 'hash' | 'random';

export interface UpstreamState {
  readonly name: string;
  readonly method: UpstreamMethod;
  readonly zone?: string;
  /** At run time: it is not in the configuration. */
  readonly added: boolean;
  readonly servers: readonly UpstreamServerState[];
}

interface LuaServer {
  address: string;
  server: string;
  weight: number;
  max_fails: number;
  fail_timeout: number;
  max_conns: number;
  backup: boolean;
  down: boolean;
  fails: number;
  conns: number;
}

/** Upstream groups at run time. */
export class Upstreams {
  readonly #lua: () => Lua;

  /** @internal */
  constructor(lua: () => Lua) {
    this.#lua = lua;
  }

  list(): UpstreamState[] {
    const [all] = this.#call('list');
    return Array.isArray(all) ? all.map(toState) : [];
  }

  get(name: string): UpstreamState | undefined {
    return this.list().find((u) => u.name.toLowerCase() === name.toLowerCase());
  }

  /** Adds an upstream, or replaces the servers of one that there is. */
  set(
    name: string,
    servers: readonly (string | UpstreamServerOptions)[],
    options: { readonly method?: Exclude<UpstreamMethod, 'hash'> } = {},
  ): void {
    this.#change('set', name, servers.map(toLua), { method: options.method });
  }

  /** Removes an upstream that was added at run time. */
  remove(name: string): void {
    this.#change('remove', name);
  }

  /** Adds a server, or replaces the one with that address. */
  addServer(name: string, server: string | UpstreamServerOptions): void {
    this.#change('add_server', name, toLua(server));
  }

  setServer(
    name: string,
    address: string,
    changes: Omit<Partial<UpstreamServerOptions>, 'address'>,
  ): void {
    const { address: _, ...fields } = toLua({ address, ...changes });
    this.#change('set_server', name, address, fields);
  }

  removeServer(name: string, address: string): void {
    this.#change('remove_server', name, address);
  }

  #call(fn: string, ...args: unknown[]): unknown[] {
    return this.#lua().eval<unknown[]>(
      'local fn = ... return require("moonphase.upstream")[fn](select(2, ...))',
      { name: 'upstreams', args: [fn, ...args], all: true },
    );
  }

  #change(fn: string, ...args: unknown[]): void {
    const [done, why] = this.#call(fn, ...args);
    if (done !== true) throw new MoonphaseError('ERR_MOONPHASE_UPSTREAM', String(why));
  }
}

function toLua(server: string | UpstreamServerOptions): Record<string, unknown> {
  if (typeof server === 'string') return { address: server };
  const { maxFails, failTimeout, maxConns, ...rest } = server;
  const all = { ...rest, max_fails: maxFails, fail_timeout: failTimeout, max_conns: maxConns };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function toState(group: {
  name: string;
  method: UpstreamMethod;
  zone?: string;
  added: boolean;
  servers: LuaServer[] | object;
}): UpstreamState {
  const servers = Array.isArray(group.servers) ? (group.servers as LuaServer[]) : [];
  return {
    ...group,
    servers: servers.map(({ max_fails, fail_timeout, max_conns, ...rest }) => ({
      ...rest,
      maxFails: max_fails,
      failTimeout: fail_timeout,
      maxConns: max_conns,
    })),
  };
}
