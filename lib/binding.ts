import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ListenPlan, Plan, SyslogServer } from './conf/plan.js';
import { startCodec, type NativeCodec } from './codec.js';
import { jsHelpers } from './js.js';
import { LuaError, MoonphaseError, type ErrorCode } from './errors.js';
import { loadAdvice, refusal } from './load-advice.js';

/** What a system call of the addon answers when it fails. */
export interface CallFailure {
  readonly call: string;
  readonly errno: number;
  readonly text: string;
}

/** nginx's numbers for what a process is. */
export const ProcessType = {
  single: 0,
  master: 1,
  signaller: 2,
  worker: 3,
  helper: 4,
  privileged: 99,
} as const;

export interface NativeGatewayOptions {
  readonly lualib: string;
  readonly userLualib?: string | undefined;
  readonly processType?: number;
  readonly workerId?: number;
  readonly workerCount?: number;
  readonly masterPid?: number;
  /** No `Server` header. */
  readonly embedded: boolean;
  readonly respawned?: boolean;
  /** `load` stops after init_by_lua: the configuration is only tested. */
  readonly test?: boolean;
  readonly serverVersion?: string | undefined;
  /** Shared dictionaries whose memory the primary has made: the descriptor that it gave us. */
  readonly zones?: readonly { readonly name: string; readonly fd: number }[];
  /** What the names begin with under which processes share dictionaries that are created while they run. */
  readonly zoneSpace?: string | undefined;
  /** The dictionaries of the configuration, too. */
  readonly zonesByName?: boolean;
  /** Who made the names removes them with `removeUnusedZones`. */
  readonly zonesKept?: boolean;
  /** The descriptor of the memory that all workers count in (`openStatistics`). */
  readonly stats?: number;
  /** Whom to become between init_by_lua and init_worker_by_lua. */
  readonly user?: string | undefined;
  readonly group?: string | undefined;
}

export interface GatewayStats {
  readonly accepted: number;
  readonly handled: number;
  readonly requests: number;
  readonly active: number;
  readonly reading: number;
  readonly writing: number;
  readonly waiting: number;
}

export interface NativeGateway {
  /** `handlers`: what lib/phases made of `plan.js`. */
  load(plan: Plan, handlers?: readonly unknown[]): Promise<void>;
  listen(descriptors: readonly number[]): void;
  stopListening(): void;
  quit(): Promise<void>;
  terminate(): void;
  reopenLogs(): void;
  stats(): GatewayStats;
  /** Who is called for requests of other servers: lib/adapters/door.ts says with what. */
  door(
    callback: (
      id: number,
      event: number,
      first: string | number | boolean | undefined,
      body: string | Buffer | undefined,
      last: boolean | undefined,
      trailers: string | undefined,
    ) => boolean,
  ): NativeDoor;
  /** How many connections `init_by_lua` wants a privileged agent to have; undefined: it wants none. */
  privilegedAgent(): number | undefined;
}

/** The way of other servers' requests into a gateway. */
export interface NativeDoor {
  /** Brings a request in. What it is passed on with; 0: it is not, or not yet; undefined: the gateway has ended. */
  begin(
    id: number,
    flags: number,
    version: number,
    method: string,
    url: string,
    headers: string,
    connection: number,
    requests: number,
    /** The connection's, read when its number is new. */
    peer: string,
    local: string,
  ): number | undefined;
  /** Bytes of its body; false: enough for now. */
  push(id: number, bytes: Uint8Array): boolean | undefined;
  pushEnd(id: number): void;
  /** There is room for more of the answer. */
  writable(id: number): void;
  /** The client has gone. */
  gone(id: number): void;
  /** An answer from elsewhere, through the filters; `headers` are "name\nvalue\n…". */
  answerHead(id: number, status: number, text: string, headers: string): void;
  answerBody(id: number, bytes: Uint8Array, last: boolean, trailers: string): boolean | undefined;
  /** It was answered elsewhere; the head as HTTP/1 has it. */
  answered(id: number, status: number, head: string, bytes: number, broken: boolean): void;
  /** "METHOD\nURL\nname\nvalue\n…" of a request that is passed on, as Lua has changed it. */
  passedRequest(id: number): string | undefined;
  passedBody(id: number): Buffer | undefined;
}

/** What JavaScript handlers do to their requests; lib/phases/request.ts makes objects of it. */
export interface NativeRequests {
  /** Calls a function of lua/moonphase/js_request.lua that does not wait. */
  requestCall(id: number, name: string, ...args: unknown[]): unknown;
  /** One that may wait. */
  requestRun(id: number, name: string, ...args: unknown[]): Promise<unknown>;
  /** Resolves when the handler has ended: true, if by force. */
  requestCancelled(id: number): Promise<boolean>;
}

export type ResultMode = 'first' | 'all' | 'live';
export type LuaFunction = (...args: unknown[]) => unknown;

export interface NativeLuaVM {
  load(source: string | Uint8Array, chunkName: string, mode: ResultMode): LuaFunction;
  withMode(fn: LuaFunction, mode: ResultMode): LuaFunction;
  memory(): number;
  /** The number of the call that has given a promise last. */
  lastWaiting(): number;
  /** That call ends, its promise rejects. */
  cancel(call: number, reason: unknown): void;
  close(): void;
}

/** The VM that a gateway's Lua code runs in now. */
export interface NativeAttachedOptions {
  readonly gateway: NativeGateway;
  readonly strings?: 'auto' | 'buffer' | 'latin1';
}

export interface NativeLuaVMOptions {
  readonly lualib: string;
  readonly userLualib?: string | undefined;
  readonly prefix: string;
  readonly packagePath: string;
  readonly packageCpath: string;
  readonly strings: 'auto' | 'buffer' | 'latin1';
  readonly memoryLimit: number;
  readonly timeout: number;
  readonly sandbox: boolean;
  readonly sharedDicts: readonly ZoneOptions[];
}

/** What makes a shared dictionary. */
export interface ZoneOptions {
  readonly name: string;
  readonly size: number;
  readonly exact: boolean;
  /** It takes tables too. */
  readonly any: boolean;
}

/** Memory of upstreams: no dictionary in it. */
export interface PlainZoneOptions {
  readonly name: string;
  readonly size: number;
  readonly plain: true;
}

/** The memory of a shared dictionary or of upstreams. */
export interface NativeZone {
  readonly fd: number;
  close(): void;
}

/** Arrays and objects only where the dictionary was made with `values=any`; as tables, for Lua. */
export type SharedValue =
  | string
  | number
  | boolean
  | Uint8Array
  | bigint
  | readonly unknown[]
  | { readonly [name: string]: unknown };

/** What a dictionary gives back. */
export type StoredValue =
  string | number | boolean | Buffer | bigint | unknown[] | Record<string, unknown>;

/** Counted by all processes since the dictionary was made, and what it holds now. */
export interface SharedStats {
  readonly hits: number;
  readonly misses: number;
  /** Live entries that made room for others. */
  readonly evictions: number;
  /** Expired entries whose memory was given back. */
  readonly expirations: number;
  readonly entries: number;
  /** Of the 4 KB pages that entries lie in. */
  readonly bytes: number;
  readonly capacity: number;
  readonly freeSpace: number;
  /** Processes that died inside an operation. */
  readonly recoveries: number;
}

/** `lost`: so much has changed at once, or a process has died, that anything may have changed. */
export type SharedChange = 'set' | 'delete' | 'flush' | 'lost';

/** A dictionary in shared memory, the same that Lua sees as `ngx.shared.NAME`. Times are seconds; 0 means for ever. */
export interface SharedDict {
  /** Text that is no UTF-8 comes as a Buffer. */
  get<T = StoredValue>(key: string | Uint8Array): T | undefined;
  /** Throws when there is no memory for the value, even after other entries were evicted. */
  set(key: string | Uint8Array, value: SharedValue, ttl?: number): true;
  /** False: there is such an entry already. */
  add(key: string | Uint8Array, value: SharedValue, ttl?: number): boolean;
  /** False: there is no such entry. */
  replace(key: string | Uint8Array, value: SharedValue, ttl?: number): boolean;
  delete(key: string | Uint8Array): void;
  /** The new value; without `init`, undefined where there is no such entry. */
  incr(key: string | Uint8Array, by: number): number | undefined;
  incr(key: string | Uint8Array, by: number, init: number, initTtl?: number): number;
  ttl(key: string | Uint8Array): number | undefined;
  expire(key: string | Uint8Array, ttl: number): boolean;
  flushAll(): void;
  flushExpired(max?: number): number;
  /** At most `max` keys (default 1024); 0: all, which blocks other users meanwhile. */
  keys(max?: number): (string | Buffer)[];
  /**
   * Stores `value` (undefined: deletes) if what is stored equals `old` (undefined: nothing is); false: it does not.
   * Numbers, booleans and bytes are compared; arrays and objects cannot be.
   */
  cas(
    key: string | Uint8Array,
    old: string | number | boolean | Uint8Array | undefined,
    value: SharedValue | undefined,
    ttl?: number,
  ): boolean;
  /** `[key, value]` of those that there are, all of one moment. */
  getMulti<T = StoredValue>(keys: readonly string[]): [string, T][];
  /** All under one lock. Throws when there is no memory for one; those before it are stored. */
  setMulti(entries: readonly (readonly [string, SharedValue])[], ttl?: number): true;
  /**
   * Another size, in bytes, for all processes and at once; entries stay. Throws, and nothing has changed, where there is
   * no memory or the live entries would not fit. The configured size comes back with the next start, not with a reload.
   */
  resize(size: number): void;
  stats(): SharedStats;
  /**
   * Calls back after each change of a key with that prefix, whichever process made it; the result ends that. Expiry and
   * eviction are no changes. `flush` and `lost` have no key.
   */
  subscribe(
    prefix: string | Uint8Array,
    callback: (key: string | Buffer | undefined, change: SharedChange) => void,
  ): () => void;
  readonly capacity: number;
  readonly freeSpace: number;
}

export type SignalName =
  'SIGTERM' | 'SIGINT' | 'SIGQUIT' | 'SIGHUP' | 'SIGUSR1' | 'SIGUSR2' | 'SIGWINCH';

/** The addon's exports. */
export interface Native extends NativeRequests {
  readonly Gateway: new (options: NativeGatewayOptions) => NativeGateway;
  readonly LuaVM: new (options: NativeLuaVMOptions | NativeAttachedOptions) => NativeLuaVM;
  readonly SharedDict: new (
    zone: ZoneOptions & { readonly fd?: number; readonly space?: string | undefined },
  ) => SharedDict;
  openSocket(listen: ListenPlan): number | CallFailure;
  closeSocket(fd: number): void;
  duplicateSocket(fd: number): number | CallFailure;
  socketName(fd: number): string | undefined;
  /** `restart` (default true): system calls that a signal interrupts go on. */
  catchSignals(restart?: boolean): void;
  /** What `ngx_argv` shows to FFI: the command and its arguments. */
  setArguments(argv: readonly string[]): void;
  watchSignals(callback: (name: SignalName, number: number, sender: number) => void): void;
  openZone(zone: ZoneOptions | PlainZoneOptions): NativeZone;
  /** The memory that all workers of a server count in. */
  openStatistics(): NativeZone;
  /** The memory of created dictionaries whose names begin so, if no process has it any more. */
  removeUnusedZones(space: string): void;
  errorText(errno: number): string;
  daemonise(): CallFailure | undefined;
  redirectStderr(path: string): CallFailure | undefined;
  /** What PCRE2 says against a pattern. */
  regexError(pattern: string, caseless: boolean): string | undefined;
  account(user: string, group?: string): { uid: number; gid: number } | CallFailure;
  setLimits(limits: { nofile?: number; core?: number; priority?: number }): CallFailure | undefined;
  setAffinity(mask: string): CallFailure | undefined;
  setEnvironment(variables: readonly (readonly [string, string?])[]): void;
  /** One message of a process that logs without a gateway; what fails is lost. */
  sendSyslog(server: SyslogServer, severity: number, message: string): void;
  closeOnExec(fd: number): CallFailure | undefined;
}

interface Internal extends Native, NativeCodec {
  setup(helpers: {
    makeError(message: string, luaStack: string, value: unknown, isText: boolean): Error;
    makeCoded(code: ErrorCode, message: string): Error;
    watchPromise(promise: PromiseLike<unknown>, id: number): void;
    makeProxy(vm: object, handle: object): object;
    js: object;
  }): void;
  settled(id: number, ok: boolean, value: unknown): void;
}

/** The package's directory, whether this file lies in dist/, in a bundle below it, or in lib/. */
export const packageRoot: string = findRoot(dirname(fileURLToPath(import.meta.url)));

function findRoot(from: string): string {
  for (let dir = from; ; dir = dirname(dir)) {
    if (existsSync(join(dir, 'package.json'))) return dir;
    if (dir === dirname(dir)) return from;
  }
}

/** Where lua-resty-core and the other Lua files of the package are. */
export const lualib: string = join(packageRoot, 'lualib');

let loaded: Internal | undefined;
let proxies: (vm: object, handle: object) => object = (_vm, handle) => handle;

/** The addon; it is loaded by the first call. */
export function native(): Native {
  if (loaded !== undefined) return loaded;
  const addon = load();
  addon.setup({
    makeError: (message, luaStack, value, isText) =>
      new LuaError(message, luaStack, isText ? message : value),
    makeCoded: (code, message) => new MoonphaseError(code, message),
    watchPromise: (promise, id) => {
      // a thenable, too
      Promise.resolve(promise).then(
        (value) => addon.settled(id, true, value),
        (error: unknown) => addon.settled(id, false, error),
      );
    },
    makeProxy: (vm, handle) => proxies(vm, handle),
    js: jsHelpers,
  });
  startCodec(addon);
  loaded = addon;
  return addon;
}

/** How live tables of Lua become objects: lib/luavm.ts says it. */
export function setProxyMaker(make: (vm: object, handle: object) => object): void {
  proxies = make;
}

export function isFailure(result: unknown): result is CallFailure {
  return typeof result === 'object' && result !== null && 'errno' in result && 'call' in result;
}

function load(): Internal {
  const require = createRequire(import.meta.url);
  const given = process.env['MOONPHASE_ADDON'];
  const refused = refusal(process.versions);
  if (refused !== undefined) throw cannotLoad(given, refused);
  // What was built here comes first; it spares the search for prebuilds.
  const built = join(packageRoot, 'build/Release/moonphase.node');
  try {
    if (given !== undefined && given !== '') return require(given) as Internal;
    if (existsSync(built)) return require(built) as Internal;
    const find = require('node-gyp-build') as (dir: string) => unknown;
    return find(packageRoot) as Internal;
  } catch (cause) {
    const reason = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause);
    throw cannotLoad(given, reason, cause);
  }
}

function cannotLoad(given: string | undefined, reason: string, cause?: unknown): MoonphaseError {
  const { platform, arch, versions } = process;
  const at = { platform, arch, versions, given, glibc: glibc(), found: found(), root: packageRoot };
  return new MoonphaseError('ERR_MOONPHASE_LOAD', loadAdvice(at, reason), { cause });
}

function glibc(): string | undefined {
  const report = process.report?.getReport() as
    { header?: { glibcVersionRuntime?: string } } | undefined;
  return report?.header?.glibcVersionRuntime;
}

function found(): string[] {
  const folders = ['build/Release'];
  try {
    folders.push(...readdirSync(join(packageRoot, 'prebuilds')).map((dir) => `prebuilds/${dir}`));
  } catch {
    // none
  }
  return folders.flatMap((dir) => {
    try {
      const files = readdirSync(join(packageRoot, dir)).filter((file) => file.endsWith('.node'));
      return files.map((file) => `${dir}/${file}`);
    } catch {
      return [];
    }
  });
}
