import { inspect } from 'node:util';
import { native, type NativeRequests, type SharedDict } from '../binding.js';
import { MoonphaseError } from '../errors.js';

/** The phases that a handler can run in, as `ngx.get_phase()` names them. */
export type PhaseName =
  | 'init'
  | 'init_worker'
  | 'exit_worker'
  | 'set'
  | 'server_rewrite'
  | 'rewrite'
  | 'access'
  | 'precontent'
  | 'content'
  | 'header_filter'
  | 'body_filter'
  | 'log';

export type HeaderValue = string | readonly string[];
/** Arguments of a URI or a form: `true` is an argument without a value. */
export type ArgValue = string | true | (string | true)[];
/** What `say` and `print` take; an array's elements are put together. */
export type Output = string | number | boolean | null | undefined | Uint8Array | readonly Output[];
export type LogLevel =
  'emerg' | 'alert' | 'crit' | 'error' | 'warn' | 'notice' | 'info' | 'debug' | 'stderr';

export interface CaptureOptions {
  /** `GET` by default. */
  readonly method?: string;
  readonly body?: string | Uint8Array;
  readonly args?: string | Readonly<Record<string, ArgValue | number | boolean>>;
  /** The subrequest's `ngx.ctx`. */
  readonly ctx?: object;
  readonly vars?: Readonly<Record<string, string | number>>;
  readonly copy_all_vars?: boolean;
  readonly share_all_vars?: boolean;
  readonly always_forward_body?: boolean;
}

export interface CaptureResult {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number | string[]>>;
  readonly body: string | Buffer;
  readonly truncated: boolean;
}

/** A handler of a phase. One that returns a promise makes the request wait for it. */
export type Handler = (req: PhaseRequest, ngx: Ngx) => unknown;
declare module '../conf/options.js' {
  interface HandlerTypes {
    request: Handler;
  }
}

/** A handler of `set_by_js`: its result is the variable's value. */
export type SetHandler = (req: PhaseRequest, ngx: Ngx, ...args: string[]) => unknown;

/** How a handler has asked to end: the name of Lua's function, and what it gets. */
type Ending = readonly ['exit' | 'exec' | 'redirect', unknown, unknown?];

/** Thrown by `ngx.exit`, `exec` and `redirect`. To catch it changes nothing: the handler's request is on its way out. */
class PhaseEnd extends Error {
  override readonly name = 'PhaseEnd';
}

/** What of a handler's call the objects that it gets share. */
export class Call {
  ending: Ending | undefined;
  end: ((ending: Ending) => void) | undefined;

  constructor(
    readonly id: number,
    readonly shared: Readonly<Record<string, SharedDict>>,
  ) {}

  do<T>(name: string, ...args: unknown[]): T {
    return addon().requestCall(this.id, name, ...args) as T;
  }

  wait<T>(name: string, ...args: unknown[]): Promise<T> {
    return addon().requestRun(this.id, name, ...args) as Promise<T>;
  }

  leave(ending: Ending): never {
    this.ending ??= ending;
    this.end?.(this.ending);
    throw this.#over(this.ending);
  }

  /** What sends something: not after `leave`, which somebody may have caught. */
  output(name: 'say' | 'print' | 'send_headers' | 'eof', ...args: unknown[]): void {
    if (this.ending !== undefined) throw this.#over(this.ending);
    check(this.do(name, ...args));
  }

  #over([name]: Ending): PhaseEnd {
    return new PhaseEnd(`ngx.${name}() has ended this handler`);
  }
}

const addon = (): NativeRequests => native();

/** Header fields by name. */
export class Headers {
  readonly #get: (name: string) => HeaderValue | undefined;
  readonly #set: (name: string, value: HeaderValue | undefined) => void;
  readonly #all: () => Record<string, HeaderValue>;

  /** @internal */
  constructor(
    get: (name: string) => HeaderValue | undefined,
    set: (name: string, value: HeaderValue | undefined) => void,
    all: () => Record<string, HeaderValue>,
  ) {
    this.#get = get;
    this.#set = set;
    this.#all = all;
  }

  /** The value; of several fields with this name the first. */
  get(name: string): string | undefined {
    const value: unknown = this.#get(name);
    const first: unknown = Array.isArray(value) ? value[0] : value;
    return first === undefined ? undefined : String(first);
  }

  /** Every value of the fields with this name. */
  getAll(name: string): string[] {
    const value: unknown = this.#get(name);
    return value === undefined ? [] : [value].flat().map(String);
  }

  has(name: string): boolean {
    return this.#get(name) !== undefined;
  }

  /** A list makes several fields; undefined removes them. */
  set(name: string, value: HeaderValue | number | undefined): void {
    this.#set(name, typeof value === 'number' ? String(value) : value);
  }

  delete(name: string): void {
    this.#set(name, undefined);
  }

  toObject(): Record<string, HeaderValue> {
    return this.#all();
  }
}

/** The request that a handler works at. */
export class PhaseRequest {
  readonly #call: Call;
  #headers: Headers | undefined;
  #abort: AbortController | undefined;

  /** @internal */
  constructor(call: Call) {
    this.#call = call;
  }

  get method(): string {
    return this.#call.do('method');
  }
  set method(name: string) {
    this.#call.do('set_method', name);
  }

  /** The path, decoded, as `$uri`. To set it changes it without a search for another location. */
  get uri(): string {
    return this.#call.do<string | undefined>('var', 'uri') ?? '';
  }
  set uri(value: string) {
    this.#call.do('set_uri', value);
  }

  /** As the client sent it, with its arguments. */
  get rawUri(): string {
    return this.#call.do<string | undefined>('var', 'request_uri') ?? '';
  }

  /** The arguments of the URI, at most 100 of them. */
  get args(): Record<string, ArgValue> {
    return entries(this.#call.do('uri_args'));
  }
  set args(value: Readonly<Record<string, unknown>> | string) {
    this.#call.do('set_uri_args', value);
  }

  get headers(): Headers {
    const call = this.#call;
    return (this.#headers ??= new Headers(
      (name) => call.do('request_header', name),
      (name, value) =>
        value === undefined ? call.do('clear_header', name) : call.do('set_header', name, value),
      () => entries(call.do('headers', 0)),
    ));
  }

  /** `1.1`; undefined for HTTP/0.9. */
  get httpVersion(): number | undefined {
    return this.#call.do('http_version');
  }

  get isInternal(): boolean {
    return this.#call.do('is_internal');
  }
  get isSubrequest(): boolean {
    return this.#call.do('is_subrequest');
  }
  /** When the request began, in seconds since 1970. */
  get startTime(): number {
    return this.#call.do('start_time');
  }
  get remoteAddress(): string | undefined {
    return this.#call.do('var', 'remote_addr');
  }

  /** Reads the whole body. Undefined where there is none; one that lies in a file is in `bodyFile` then. */
  async body(): Promise<Buffer | undefined> {
    await this.#call.wait('read_body');
    const data = this.#call.do<string | Buffer | undefined>('body_data');
    return data === undefined ? undefined : Buffer.from(data);
  }

  /** The body as text, whether in memory or in a file. */
  async text(): Promise<string> {
    const body = await this.body();
    if (body !== undefined) return body.toString();
    const file = this.bodyFile;
    if (file === undefined) return '';
    const { readFile } = await import('node:fs/promises');
    return readFile(file, 'utf8');
  }

  async json<T = unknown>(): Promise<T> {
    return JSON.parse(await this.text()) as T;
  }

  /** Where the body lies that was too large for the memory. */
  get bodyFile(): string | undefined {
    return this.#call.do('body_file');
  }

  /** A form in the body (`application/x-www-form-urlencoded`). */
  async form(): Promise<Record<string, ArgValue>> {
    await this.#call.wait('read_body');
    return entries(this.#call.do('post_args'));
  }

  setBody(data: string | Uint8Array): void {
    this.#call.do('set_body_data', data);
  }

  /**
   * Aborted when the client goes away, or something else ends the handler before its promise settles. Who asks for it
   * is told, whatever `lua_check_client_abort` says.
   */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      const controller = (this.#abort = new AbortController());
      void addon()
        .requestCancelled(this.#call.id)
        .then((cancelled) => {
          if (cancelled)
            controller.abort(new MoonphaseError('ERR_MOONPHASE_CLOSED', 'the request has ended'));
        });
    }
    return this.#abort.signal;
  }
}

function entries<T>(value: unknown): Record<string, T> {
  return (Array.isArray(value) && value.length === 0 ? {} : value) as Record<string, T>;
}

const LEVELS: Readonly<Record<LogLevel, number>> = {
  stderr: 0,
  emerg: 1,
  alert: 2,
  crit: 3,
  error: 4,
  warn: 5,
  notice: 6,
  info: 7,
  debug: 8,
};

/** What `ngx` is to Lua code: everything but the request itself. */
export class Ngx {
  readonly #call: Call;
  #headers: Headers | undefined;
  #var: Record<string, string | undefined> | undefined;

  /** @internal */
  constructor(call: Call) {
    this.#call = call;
  }

  get phase(): PhaseName {
    return this.#call.do('phase');
  }

  /** The answer's status. */
  get status(): number {
    return this.#call.do('status');
  }
  set status(value: number) {
    this.#call.do('set_status', value);
  }

  /** The answer's header fields. */
  get headers(): Headers {
    const call = this.#call;
    return (this.#headers ??= new Headers(
      (name) => call.do('header', name),
      (name, value) => call.do('set_response_header', name, value),
      () => entries(call.do('response_headers')),
    ));
  }
  get headersSent(): boolean {
    return this.#call.do('headers_sent');
  }

  /** Sends text with a line end behind it. */
  say(...output: Output[]): void {
    this.#call.output('say', ...output);
  }
  print(...output: Output[]): void {
    this.#call.output('print', ...output);
  }
  /** Sends a JSON text, as `application/json` unless there is a content type. */
  json(value: unknown): void {
    const text = JSON.stringify(value) as string | undefined;
    if (text === undefined)
      throw new MoonphaseError('ERR_MOONPHASE_VALUE', `JSON has no ${typeof value}`);
    if (!this.headersSent && this.#call.do('header', 'Content-Type') === undefined)
      this.#call.do('set_response_header', 'Content-Type', 'application/json');
    this.print(text);
  }
  /** Sends a whole answer. */
  send(
    status: number,
    body: Output = '',
    headers: Readonly<Record<string, HeaderValue>> = {},
  ): void {
    this.status = status;
    for (const [name, value] of Object.entries(headers)) this.headers.set(name, value);
    this.print(body);
  }
  sendHeaders(): void {
    this.#call.output('send_headers');
  }
  /** Resolves when the client has taken what was sent. */
  async flush(): Promise<void> {
    check(await this.#call.wait('flush', true));
  }
  /** Ends the answer; the handler may go on. */
  eof(): void {
    this.#call.output('eof');
  }

  /** As in Lua: ends the request with a status, or (0) this phase. */
  exit(status: number): never {
    return this.#call.leave(['exit', status]);
  }
  exec(uri: string, args?: string | Readonly<Record<string, unknown>>): never {
    return this.#call.leave(['exec', uri, args]);
  }
  redirect(uri: string, status = 302): never {
    return this.#call.leave(['redirect', uri, status]);
  }

  /** nginx's variables. */
  get var(): Record<string, string | undefined> {
    const call = this.#call;
    return (this.#var ??= new Proxy(Object.create(null) as Record<string, string | undefined>, {
      get: (_target, name) => (typeof name === 'string' ? call.do('var', name) : undefined),
      set(_target, name, value) {
        if (typeof name !== 'string') return false;
        call.do('set_var', name, value);
        return true;
      },
      has: (_target, name) => typeof name === 'string' && call.do('var', name) !== undefined,
    }));
  }

  /** The very table that Lua handlers of this request have as `ngx.ctx`. */
  get ctx(): Record<string, unknown> {
    return this.#call.do('ctx');
  }
  set ctx(value: Readonly<Record<string, unknown>>) {
    this.#call.do('set_ctx', value);
  }

  /** The shared dictionaries. */
  get shared(): Readonly<Record<string, SharedDict>> {
    return this.#call.shared;
  }

  /** A line of the error log. */
  log(level: LogLevel, ...what: unknown[]): void {
    const text = what.map((one) => (typeof one === 'string' ? one : inspect(one))).join(' ');
    this.#call.do('log', LEVELS[level], text);
  }

  /** Waits so many seconds; rejects when the request ends before. */
  sleep(seconds: number): Promise<void> {
    return this.#call.wait('sleep', seconds);
  }

  readonly location = {
    /** A request to a location of this server, without a connection. */
    capture: (uri: string, options?: CaptureOptions): Promise<CaptureResult> =>
      this.#call.wait('capture', uri, options),
    captureMulti: (
      list: readonly (readonly [uri: string, options?: CaptureOptions])[],
    ): Promise<CaptureResult[]> => this.#call.wait('capture_multi', list),
  };

  /** In a body filter: what comes. To set it changes what goes on. */
  get chunk(): Buffer {
    return Buffer.from(this.#call.do<string | Buffer | undefined>('arg', 1) ?? '');
  }
  set chunk(data: string | Uint8Array | undefined) {
    this.#call.do('set_arg', 1, data);
  }
  /** In a body filter: nothing comes after this chunk. */
  get last(): boolean {
    return this.#call.do<boolean | undefined>('arg', 2) === true;
  }
}

/** Lua's output functions tell of failures by a text: the client is gone, or the answer is complete. */
function check(failure: unknown): void {
  if (typeof failure === 'string') throw new MoonphaseError('ERR_MOONPHASE_CLOSED', failure);
}

type Result = readonly unknown[] | undefined;

/**
 * What native code calls for a handler: the result says how the phase goes on, and is a promise where the handler
 * waits.
 */
export function enter(
  handler: Handler,
  shared: Readonly<Record<string, SharedDict>>,
): (id: number, ...args: unknown[]) => Result | Promise<Result> {
  return (id, ...args) => {
    const call = new Call(id, shared);
    let result: unknown;
    try {
      result = (handler as (...all: unknown[]) => unknown)(
        new PhaseRequest(call),
        new Ngx(call),
        ...args,
      );
    } catch (error) {
      return call.ending ?? failure(error);
    }
    if (!isPromise(result)) return call.ending ?? success(result);
    const promise = result.then(
      (value) => call.ending ?? success(value),
      (error: unknown) => call.ending ?? failure(error),
    );
    if (call.ending !== undefined) return call.ending;
    return Promise.race([promise, new Promise<Result>((resolve) => (call.end = resolve))]);
  };
}

function isPromise(value: unknown): value is Promise<unknown> {
  return value instanceof Promise;
}

function success(value: unknown): Result {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? ['return', value]
    : undefined;
}

/** What the error log shows of an error: its stack, which Node has mapped to sources, and those of its causes. */
function failure(error: unknown): Result {
  return ['error', error instanceof Error ? inspect(error) : `thrown: ${inspect(error)}`];
}
