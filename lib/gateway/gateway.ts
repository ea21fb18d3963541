import type { IncomingMessage } from 'node:http';
import { resolve } from 'node:path';
import type { Duplex } from 'node:stream';
import { fetchFrom, handle, upgrade } from '../adapters/adapters.js';
import type { Door } from '../adapters/door.js';
import {
  express,
  fastify,
  koa,
  type ExpressHandler,
  type ExpressOptions,
  type FastifyPlugin,
  type KoaMiddleware,
} from '../adapters/frameworks.js';
import type { ExchangeOptions, Next, NodeRequest, NodeResponse } from '../adapters/node.js';
import { native, type GatewayStats, type SharedDict, type ZoneOptions } from '../binding.js';
import { checkOptions } from '../conf/checks.js';
import { compile, type Compiled } from '../conf/compile.js';
import {
  compileOptions,
  type GatewayPlanOptions,
  type SharedDictOptions,
} from '../conf/options.js';
import type { ListenPlan, Plan } from '../conf/plan.js';
import { MoonphaseError } from '../errors.js';
import type { Lua } from '../luavm.js';
import { doorOf, withListens, type ListenOptions, type Listening } from './listen.js';
import { Server } from './server.js';
import { embeddedZones, zoneSize } from './zones.js';
import { Upstreams } from './upstreams.js';

export interface GatewayOptions {
  /** Directory for relative paths, as nginx's `-p`. Default: the current directory. */
  readonly prefix?: string;
  /** The configuration file, under the prefix. */
  readonly config: string;
  /** Directives in front of the file, as nginx's `-g`. */
  readonly globals?: string;
  /** Where errors go if the configuration has no `error_log`; `stderr` or a path under the prefix. */
  readonly errorLog?: string;
  /** The `Server` header that nginx would send; by default there is none. */
  readonly serverHeader?: string;
}

export interface StopOptions {
  /** Requests under way are cut off, at once or after so many milliseconds. */
  readonly timeout?: number;
}

/** What `createGateway` takes: the path of an nginx.conf, or the configuration as options. */
export type GatewayInput = GatewayOptions | (GatewayPlanOptions & { readonly config?: undefined });

/** An nginx configuration that this process serves, beside whatever else it does. */
export class Gateway {
  readonly #options: GatewayInput;
  #compiled: Compiled;
  #server: Server | undefined;
  #lua: Lua | undefined;
  #shared: Record<string, SharedDict> | undefined;
  readonly #created: Record<string, SharedDict> = {};
  readonly #zones = embeddedZones();
  #busy: Promise<unknown> = Promise.resolve();
  /** The configuration's own addresses are listened on. */
  #listening = false;
  #stopped = false;
  #extra: readonly ListenPlan[] = [];
  #fastify: FastifyPlugin | undefined;

  /** Use `createGateway`. */
  constructor(options: GatewayInput, compiled: Compiled) {
    this.#options = options;
    this.#compiled = compiled;
  }

  /** Listens on the configuration's addresses, once its Lua code is loaded and `init_by_lua` has run. */
  start(): Promise<void> {
    return this.#next(async () => {
      if (this.#listening) {
        throw new MoonphaseError('ERR_MOONPHASE_START', 'the gateway runs already');
      }
      this.#stopped = false;
      if (this.#server === undefined)
        await this.#load((server) =>
          server.serve(this.#plan(), undefined, this.#compiled.functions),
        );
      else await this.#server.listen(this.#plan());
      this.#listening = true;
    });
  }

  /**
   * Listens on one more address, with the gateway's own server: a port of all interfaces, `host:port`, `unix:/path`.
   * Port 0 is any free one. Where the gateway runs already this is a reload.
   */
  listen(where: number | string | ListenOptions): Promise<Listening> {
    return this.#next(async () => {
      this.#stopped = false;
      const serve = async (server: Server): Promise<Listening> => {
        const { plan, listening } = doorOf(where, this.#compiled.plan, server.sockets);
        const extra = [...this.#extra, plan];
        await server.serve(
          withListens(this.#compiled.plan, extra, this.#listening),
          undefined,
          this.#compiled.functions,
        );
        this.#extra = extra;
        this.#swapped();
        return listening;
      };
      return this.#server === undefined ? this.#load(serve) : serve(this.#server);
    });
  }

  /** A handler of `http`, `https` and `http2` servers. With `next`, what no location answers goes on there. */
  readonly handler = (req: NodeRequest, res: NodeResponse, next?: Next): void =>
    handle(this.#open, req, res, next);

  /** A handler of their `upgrade` event. */
  readonly upgrade = (req: IncomingMessage, socket: Duplex, head: Uint8Array): void =>
    upgrade(this.#open, req, socket, head);

  /** A `Request` to its `Response`, without a socket. */
  readonly fetch = (request: Request): Promise<Response> => fetchFrom(this.#open, request);

  /** A middleware for Express, and for what takes Express' middleware. */
  express(options?: ExpressOptions): ExpressHandler {
    if (options !== undefined) checkOptions('express', { ...options }, { url: 'string' });
    return express(this.#handle, options);
  }

  /** A middleware for Koa. */
  koa(): KoaMiddleware {
    return koa(this.#handle);
  }

  /** A plugin for Fastify: `await app.register(gateway.fastify)`. */
  get fastify(): FastifyPlugin {
    return (this.#fastify ??= fastify(this.#handle));
  }

  readonly #handle = (
    req: NodeRequest,
    res: NodeResponse,
    next?: Next,
    options?: ExchangeOptions,
  ): void => handle(this.#open, req, res, next, options);

  /** The first request of another server starts the gateway, without listening. */
  readonly #open = (): Door | Promise<Door> => {
    const server = this.#server;
    if (server?.running === true) return server.door;
    return this.#next(async () => {
      if (this.#stopped) throw new MoonphaseError('ERR_MOONPHASE_CLOSED', 'the gateway has ended');
      if (this.#server === undefined)
        await this.#load((one) => one.load(this.#plan(), this.#compiled.functions));
      return this.#running().door;
    });
  };

  #plan(): Plan {
    return withListens(this.#compiled.plan, this.#extra, true);
  }

  async #load<T>(work: (server: Server) => Promise<T>): Promise<T> {
    const header = this.#options.serverHeader;
    const server = new Server({
      embedded: header === undefined,
      serverVersion: header,
      ...this.#zones,
    });
    try {
      const result = await work(server);
      this.#server = server;
      return result;
    } catch (error) {
      server.terminate();
      throw error;
    }
  }

  #swapped(): void {
    this.#lua = undefined;
    this.#shared = undefined;
  }

  /** Reads the configuration again. Where it is wrong the old one goes on, and the promise rejects. */
  reload(): Promise<void> {
    return this.#next(async () => {
      const server = this.#stopped ? this.#running() : this.#server;
      const compiled = read(this.#options);
      if (server === undefined) {
        this.#compiled = compiled; // nobody has asked for anything yet
        return;
      }
      const plan = withListens(compiled.plan, this.#extra, this.#listening);
      if (this.#listening || this.#extra.length > 0)
        await server.serve(plan, undefined, compiled.functions);
      else await server.load(plan, compiled.functions);
      this.#compiled = compiled;
      this.#swapped();
    });
  }

  /** Accepts nothing more and resolves when the requests under way have ended. */
  async stop(options: StopOptions = {}): Promise<void> {
    checkOptions('stop', options, { timeout: 'milliseconds' });
    return this.#next(async () => {
      const server = this.#server;
      this.#server = undefined;
      this.#listening = false;
      this.#stopped = true;
      this.#extra = [];
      this.#lua = undefined;
      if (server === undefined) return;
      if (options.timeout === 0) server.terminate();
      else await server.quit(options.timeout);
    });
  }

  /** The Lua VM of the configuration that is served now: its modules and globals, for JavaScript. */
  get lua(): Lua {
    return (this.#lua ??= this.#running().lua());
  }

  /**
   * The shared dictionaries of the configuration and those that were created, by name. They keep their contents over a
   * reload.
   */
  get shared(): Readonly<Record<string, SharedDict>> {
    const space = this.#zones.zonesByName ? this.#zones.zoneSpace : undefined;
    return (this.#shared ??= {
      ...this.#created,
      ...Object.fromEntries(
        this.#configured.map((zone) => [zone.name, new (native().SharedDict)({ ...zone, space })]),
      ),
    });
  }

  /**
   * Makes a dictionary that the configuration does not have. Lua gets it by `require("moonphase.shared").create` with
   * the same name and size, as do other threads and the other workers of a `node:cluster`: the first of them makes it,
   * and it goes with the last that has it.
   */
  createShared(name: string, options: SharedDictOptions): SharedDict {
    if (typeof name !== 'string' || name === '')
      throw new MoonphaseError('ERR_MOONPHASE_OPTION', 'the name of a shared dictionary is text');
    checkOptions(
      'createShared',
      { ...options, size: undefined },
      {
        size: 'string',
        exact: 'boolean',
        values: ['plain', 'any'],
      },
    );
    if (this.#configured.some((zone) => zone.name === name)) {
      throw new MoonphaseError(
        'ERR_MOONPHASE_SHARED',
        `the configuration has a dictionary "${name}"`,
      );
    }
    const dict = new (native().SharedDict)({
      name: Buffer.from(name).toString('latin1'),
      size: zoneSize(options.size),
      exact: options.exact ?? false,
      any: options.values === 'any',
      space: this.#zones.zoneSpace,
    });
    this.#created[name] = dict;
    this.#shared = undefined;
    return dict;
  }

  /** The upstreams: what is changed here, all processes that share the configuration's zones see at once. */
  readonly upstreams = new Upstreams(() => this.lua);

  reopenLogs(): void {
    this.#running().reopenLogs();
  }

  get stats(): GatewayStats {
    return this.#running().stats();
  }

  /** The addresses of the configuration, as nginx writes them: `0.0.0.0:8080`, `unix:/path`. */
  get addresses(): string[] {
    return [...(this.#compiled.plan.http?.listens ?? []), ...this.#extra].map(({ name }) => name);
  }

  get #configured(): readonly ZoneOptions[] {
    return this.#compiled.plan.http?.lua.shared_dicts ?? [];
  }

  #running(): Server {
    if (this.#server !== undefined) return this.#server;
    throw new MoonphaseError('ERR_MOONPHASE_CLOSED', 'the gateway does not run: start() it first');
  }

  /** One after the other. */
  #next<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#busy.then(work);
    this.#busy = done.catch(() => undefined);
    return done;
  }
}

/**
 * Reads a configuration. Rejects with a `ConfigError` where it is wrong: it names file and line, or the option.
 */
export async function createGateway(options: GatewayInput): Promise<Gateway> {
  if (typeof options !== 'object' || options === null) {
    throw new MoonphaseError('ERR_MOONPHASE_OPTION', 'createGateway takes an object of options');
  }
  if (options.config !== undefined) {
    checkOptions('createGateway with `config`', options, {
      prefix: 'string',
      config: 'string',
      globals: 'string',
      errorLog: 'string',
      serverHeader: 'string',
    });
  }
  const header: unknown = options.serverHeader;
  if (
    header !== undefined &&
    (typeof header !== 'string' || !/^[^\0-\x1f\x7f]{0,120}$/.test(header))
  ) {
    throw new MoonphaseError(
      'ERR_MOONPHASE_OPTION',
      'serverHeader is a string of at most 120 characters without control characters',
    );
  }
  return new Gateway(options, read(options));
}

function read(options: GatewayInput): Compiled {
  if (options.config === undefined) {
    return compileOptions(options, { regexError: native().regexError });
  }
  return compile({
    prefix: resolve(options.prefix ?? '.'),
    confFile: options.config,
    globals: options.globals,
    errorLog: options.errorLog,
    regexError: native().regexError,
  });
}
