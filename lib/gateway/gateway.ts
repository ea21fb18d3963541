import { resolve } from 'node:path';
import { native, type GatewayStats, type SharedDict } from '../binding.js';
import { checkOptions } from '../conf/checks.js';
import { compile, type Compiled } from '../conf/compile.js';
import { compileOptions, type GatewayPlanOptions } from '../conf/options.js';
import { MoonphaseError } from '../errors.js';
import type { Lua } from '../luavm.js';
import { Server } from './server.js';

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
  #busy: Promise<void> = Promise.resolve();

  /** Use `createGateway`. */
  constructor(options: GatewayInput, compiled: Compiled) {
    this.#options = options;
    this.#compiled = compiled;
  }

  /** Listens on the configuration's addresses, once its Lua code is loaded and `init_by_lua` has run. */
  start(): Promise<void> {
    return this.#next(async () => {
      if (this.#server !== undefined) {
        throw new MoonphaseError('ERR_MOONPHASE_START', 'the gateway runs already');
      }
      const header = this.#options.serverHeader;
      const server = new Server({ embedded: header === undefined, serverVersion: header });
      try {
        await server.serve(this.#compiled.plan, undefined, this.#compiled.functions);
      } catch (error) {
        server.terminate();
        throw error;
      }
      this.#server = server;
    });
  }

  /** Reads the configuration again. Where it is wrong the old one goes on, and the promise rejects. */
  reload(): Promise<void> {
    return this.#next(async () => {
      const compiled = read(this.#options);
      await this.#running().serve(compiled.plan, undefined, compiled.functions);
      this.#compiled = compiled;
      this.#lua = undefined;
      this.#shared = undefined;
    });
  }

  /** Accepts nothing more and resolves when the requests under way have ended. */
  async stop(options: StopOptions = {}): Promise<void> {
    checkOptions('stop', options, { timeout: 'milliseconds' });
    return this.#next(async () => {
      const server = this.#server;
      this.#server = undefined;
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

  /** The shared dictionaries of the configuration, by name. They keep their contents over a reload. */
  get shared(): Readonly<Record<string, SharedDict>> {
    return (this.#shared ??= Object.fromEntries(
      (this.#compiled.plan.http?.lua.shared_dicts ?? []).map((zone) => [
        zone.name,
        new (native().SharedDict)(zone),
      ]),
    ));
  }

  reopenLogs(): void {
    this.#running().reopenLogs();
  }

  get stats(): GatewayStats {
    return this.#running().stats();
  }

  /** The addresses of the configuration, as nginx writes them: `0.0.0.0:8080`, `unix:/path`. */
  get addresses(): string[] {
    return (this.#compiled.plan.http?.listens ?? []).map(({ name }) => name);
  }

  #running(): Server {
    if (this.#server !== undefined) return this.#server;
    throw new MoonphaseError('ERR_MOONPHASE_CLOSED', 'the gateway does not run: start() it first');
  }

  /** One after the other. */
  #next(work: () => Promise<void>): Promise<void> {
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
