import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { lualib, native, setProxyMaker } from './binding.js';
import type { LuaFunction, NativeLuaVM } from './binding.js';
import { MoonphaseError } from './errors.js';
import { checkOptions } from './conf/checks.js';
import { parseOffset } from './conf/numbers.js';

export interface LuaVMOptions {
  /** As `lua_package_path`; `;;` is the default path. */
  readonly packagePath?: string;
  /** As `lua_package_cpath`. */
  readonly packageCpath?: string;
  /** What `$prefix` in the paths means; relative paths of Lua files are under it. Default: the current directory. */
  readonly prefix?: string;
  /** Global variables of the Lua code. Functions may be async: Lua then waits for them. */
  readonly globals?: Readonly<Record<string, unknown>>;
  /** `ngx.shared` dictionaries: name and size, in bytes or as nginx writes it (`10m`). */
  readonly sharedDicts?: Readonly<
    Record<
      string,
      string | number | { readonly size: string | number; readonly values?: 'plain' | 'any' }
    >
  >;
  /**
   * What a Lua string becomes: `auto` text if it is UTF-8, else a Buffer; `buffer` always a Buffer; `latin1` text with
   * one character per byte.
   */
  readonly strings?: 'auto' | 'buffer' | 'latin1';
  /** Bytes that Lua's heap may have; code that wants more gets Lua's `not enough memory`. */
  readonly memoryLimit?: number;
  /** Milliseconds that Lua code may run without waiting; more is an error in it. The code is interpreted then. */
  readonly timeout?: number;
  /** No files, processes, foreign memory (`io`, `os.execute`, `ffi`, C modules), `debug` or bytecode. */
  readonly sandbox?: boolean;
  /** A lualib directory to take lua-resty-core from, instead of the bundled one. */
  readonly lualib?: string;
}

export interface EvalOptions {
  /** What error messages call the code. */
  readonly name?: string;
  /** The values of `...`. */
  readonly args?: readonly unknown[];
  /** All results, as an array; otherwise the first one. */
  readonly all?: boolean;
  /** A table is not copied: what is read from it is what it holds at that time. */
  readonly live?: boolean;
  /** Ends a call that waits: its promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

const loadKinds = {
  name: 'string',
  all: 'boolean',
  live: 'boolean',
  signal: 'signal',
} as const;
const evalKinds = { ...loadKinds, args: 'array' } as const;

/** A Lua VM, as JavaScript uses it. */
export class Lua {
  readonly #vm: NativeLuaVM;
  readonly #live: Live;

  /** @internal */
  constructor(vm: NativeLuaVM) {
    this.#vm = vm;
    this.#live = liveOf(vm);
  }

  /** Runs Lua code and returns what it returns. */
  eval<T = unknown>(code: string | Uint8Array, options: EvalOptions = {}): T {
    checkOptions('eval', options, evalKinds);
    const fn = this.#vm.load(code, chunkName(options.name, '=(eval)'), modeOf(options));
    const { args = [], signal } = options;
    return this.#within(signal, fn, args as unknown[]) as T;
  }

  /** The same Lua function; a call of it that waits ends when the signal is aborted. */
  withSignal<A extends unknown[], R>(
    fn: (...args: A) => R,
    signal: AbortSignal,
  ): (...args: A) => R {
    checkOptions('withSignal', { signal }, { signal: 'signal' });
    return (...args) => this.#within(signal, fn as LuaFunction, args) as R;
  }

  #within(signal: AbortSignal | undefined, fn: LuaFunction, args: unknown[]): unknown {
    if (signal === undefined) return fn(...args);
    signal.throwIfAborted();
    const before = this.#vm.lastWaiting();
    const result = fn(...args);
    const id = this.#vm.lastWaiting();
    if (id === before || !(result instanceof Promise)) return result;
    const abort = (): void => this.#vm.cancel(id, signal.reason);
    if (signal.aborted) {
      abort(); // by what Lua called
      return result;
    }
    signal.addEventListener('abort', abort, { once: true });
    const done = (): void => signal.removeEventListener('abort', abort);
    result.then(done, done);
    return result;
  }

  /** The same Lua function, whose result is not copied if it is a table. */
  live<A extends unknown[], R>(fn: (...args: A) => R): (...args: A) => R {
    return this.#vm.withMode(fn as LuaFunction, 'live') as (...args: A) => R;
  }

  /** Compiles Lua code: a function that runs it. */
  load<T extends (...args: never[]) => unknown = LuaFunction>(
    code: string | Uint8Array,
    options: Omit<EvalOptions, 'args'> = {},
  ): T {
    checkOptions('load', options, loadKinds);
    const fn = this.#vm.load(code, chunkName(options.name, '=(load)'), modeOf(options));
    const { signal } = options;
    return (signal === undefined ? fn : this.withSignal(fn, signal)) as unknown as T;
  }

  /** A Lua module. Its table stays in Lua: what is read from it is what it holds at that time. */
  require<T = Record<string, LuaFunction>>(name: string): T {
    return this.#live.require(name) as T;
  }

  getGlobal<T = unknown>(name: string): T {
    return this.#live.getGlobal(name) as T;
  }

  setGlobal(name: string, value: unknown): void {
    this.#live.setGlobal(name, value);
  }

  /** The same Lua function, with all its results in an array. */
  all<A extends unknown[]>(
    fn: (...args: A) => unknown,
  ): (...args: A) => unknown[] | Promise<unknown[]> {
    return this.#vm.withMode(fn as LuaFunction, 'all') as (
      ...args: A
    ) => unknown[] | Promise<unknown[]>;
  }

  /** Calls a method of a Lua table: `object:name(...)`. */
  call<T = unknown>(object: object, name: string, ...args: unknown[]): T {
    return this.#live.call(object, name, ...args) as T;
  }

  /** Bytes that Lua's heap holds. */
  get memory(): number {
    return this.#vm.memory();
  }

  /** Ends it: timers and sockets close, promises of calls under way reject with `ERR_MOONPHASE_CLOSED`. */
  close(): void {
    this.#vm.close();
  }
}

/**
 * Lua without a server. A call that does not yield returns at once; one that yields (`ngx.sleep`, a cosocket, an async
 * function of `globals`) returns a promise.
 */
export class LuaVM extends Lua {
  constructor(options: LuaVMOptions = {}) {
    checkOptions('LuaVM', options, {
      packagePath: 'string',
      packageCpath: 'string',
      prefix: 'string',
      globals: 'object',
      sharedDicts: 'object',
      strings: ['auto', 'buffer', 'latin1'],
      memoryLimit: 'count',
      timeout: 'count',
      sandbox: 'boolean',
      lualib: 'string',
    });
    super(
      new (native().LuaVM)({
        lualib,
        userLualib: userLualib(options.lualib),
        prefix: withSlash(options.prefix ?? process.cwd()),
        packagePath: options.packagePath ?? ';;',
        packageCpath: options.packageCpath ?? ';;',
        strings: options.strings ?? 'auto',
        memoryLimit: options.memoryLimit ?? 0,
        timeout: options.timeout ?? 0,
        sandbox: options.sandbox ?? false,
        sharedDicts: Object.entries(options.sharedDicts ?? {}).map(([name, dict]) => ({
          name,
          size: bytes(name, typeof dict === 'object' ? dict.size : dict),
          exact: false,
          any: typeof dict === 'object' && dict.values === 'any',
        })),
      }),
    );
    for (const [name, value] of Object.entries(options.globals ?? {})) this.setGlobal(name, value);
  }
}

/** Small functions in Lua that stand behind the methods above and behind live tables. */
interface Live {
  readonly require: LuaFunction;
  readonly getGlobal: LuaFunction;
  readonly setGlobal: LuaFunction;
  readonly call: LuaFunction;
  readonly get: LuaFunction;
  readonly set: LuaFunction;
  readonly keys: LuaFunction;
}

const lives = new WeakMap<object, Live>();

function liveOf(vm: NativeLuaVM): Live {
  const load = (code: string, mode: 'live' | 'first' = 'first'): LuaFunction =>
    vm.load(code, '=moonphase', mode);
  const live: Live = {
    require: load('return require((...))', 'live'),
    getGlobal: load('return _G[(...)]', 'live'),
    setGlobal: load('local name, value = ... _G[name] = value'),
    call: load(`
      local object, name = ...
      local method = object[name]
      if method == nil then error("there is no method '" .. tostring(name) .. "'", 0) end
      return method(object, select(3, ...))`),
    get: load('local object, key = ... return object[key]', 'live'),
    set: load('local object, key, value = ... object[key] = value'),
    keys: load(
      'local keys = {} for key in pairs((...)) do if type(key) == "string" or type(key) == "number" then ' +
        'keys[#keys + 1] = tostring(key) end end return keys',
    ),
  };
  lives.set(vm, live);
  return live;
}

setProxyMaker((vm, handle) => {
  Object.setPrototypeOf(handle, null); // a plain object would be copied into Lua (lib/codec.ts)
  // of a VM that only handlers know it is made here
  const live = lives.get(vm) ?? liveOf(vm as NativeLuaVM);
  const keyOf = (key: string): string | number => (/^[1-9]\d{0,14}$/.test(key) ? Number(key) : key);
  const get = (key: string): unknown => {
    const value = live.get(handle, keyOf(key));
    return value === undefined && keyOf(key) !== key ? live.get(handle, key) : value;
  };
  const keys = (): string[] => {
    const list = live.keys(handle) as string[] | Record<string, never>;
    return Array.isArray(list) ? list : [];
  };
  return new Proxy(Object.create(null) as object, {
    get: (_target, key) => (typeof key === 'string' ? get(key) : undefined),
    set(_target, key, value) {
      if (typeof key !== 'string') return false;
      live.set(handle, keyOf(key), value);
      return true;
    },
    deleteProperty(_target, key) {
      if (typeof key === 'string') live.set(handle, keyOf(key), undefined);
      return true;
    },
    has: (_target, key) => typeof key === 'string' && get(key) !== undefined,
    ownKeys: keys,
    getOwnPropertyDescriptor(_target, key) {
      const value = typeof key === 'string' ? get(key) : undefined;
      if (value === undefined) return undefined;
      return { value, writable: true, enumerable: true, configurable: true };
    },
  });
});

function modeOf({ all, live }: EvalOptions): 'all' | 'live' | 'first' {
  if (all && live)
    throw new MoonphaseError('ERR_MOONPHASE_OPTION', '`all` and `live` exclude each other');
  return all ? 'all' : live ? 'live' : 'first';
}

function chunkName(name: string | undefined, fallback: string): string {
  return name === undefined ? fallback : /^[=@]/.test(name) ? name : `=${name}`;
}

function userLualib(dir: string | undefined): string | undefined {
  if (dir !== undefined && !existsSync(join(dir, 'resty/core/base.lua'))) {
    throw new MoonphaseError(
      'ERR_MOONPHASE_OPTION',
      `lualib: there is no resty/core/base.lua in "${dir}"`,
    );
  }
  return dir ?? process.env['MOONPHASE_LUALIB'];
}

function withSlash(dir: string): string {
  return dir.endsWith('/') ? dir : `${dir}/`;
}

function bytes(name: string, size: string | number): number {
  const n = typeof size === 'number' ? size : parseOffset(size);
  if (n === undefined || !Number.isInteger(n) || n < 8192) {
    throw new MoonphaseError(
      'ERR_MOONPHASE_OPTION',
      `the size of shared dictionary "${name}" is ${String(size)}: at least 8192 bytes are needed`,
    );
  }
  return n;
}
