import { AsyncResource } from 'node:async_hooks';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { Readable } from 'node:stream';
import { Answer } from './answer.js';
import { Begin, Exchange, Passed, eachHeader, type Door } from './door.js';
import { peerOf, type Peer, type SocketLike } from './peer.js';
import { RequestBody } from './request-body.js';

/** A request of `http`, `https` or `http2` (its compatibility API). */
export type NodeRequest = IncomingMessage | Http2ServerRequest;
export type NodeResponse = ServerResponse | Http2ServerResponse;
/** Goes on with the next handler, or with its error. */
export type Next = (error?: unknown) => void;

/** What we use of both kinds of request and response. */
export interface Req extends Readable {
  method?: string;
  url?: string;
  headers: Record<string, string | string[] | undefined>;
  rawHeaders: string[];
  readonly httpVersionMajor: number;
  readonly httpVersionMinor: number;
  readonly socket: SocketLike;
  readonly stream?: {
    readonly session?: object;
    readonly endAfterHeaders?: boolean;
    close(code: number): void;
  };
  readonly _readableState?: { readonly ended?: boolean };
}
export interface Res {
  statusCode: number;
  statusMessage: string;
  readonly headersSent: boolean;
  readonly writableFinished?: boolean;
  readonly writableEnded: boolean;
  readonly destroyed?: boolean;
  readonly _header?: string | null;
  readonly _sent100?: boolean;
  writeHead(status: number, text?: string | string[], headers?: string[]): unknown;
  write(chunk: string | Uint8Array, encoding?: BufferEncoding): boolean;
  end(chunk?: string | Uint8Array, encoding?: BufferEncoding): unknown;
  flushHeaders(): void;
  writeContinue(): void;
  addTrailers(headers: Record<string, string> | [string, string][]): void;
  setHeader(name: string, value: string | string[]): unknown;
  removeHeader(name: string): void;
  getHeaders(): Record<string, number | string | string[] | undefined>;
  getHeaderNames(): string[];
  destroy(error?: Error): unknown;
  on(event: string, listener: () => void): unknown;
  emit(event: string): boolean;
}

/** The methods that write, before anybody has put others in their place. */
export interface Writer {
  head(status: number, text: string, headers: string[]): void;
  write(chunk: string | Buffer): boolean;
  end(chunk?: string | Buffer): void;
  flush(): void;
  trailers(list: [string, string][]): void;
}

/** Headers that HTTP/2 does not have. */
const CONNECTION = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

export interface ExchangeOptions {
  /** The URL that Lua sees; default: the request's. */
  readonly url?: string | undefined;
  /** Called before the gateway answers by itself. */
  readonly onAnswer?: (() => void) | undefined;
}

/** HTTP/2's code for a stream that broke. */
const INTERNAL_ERROR = 2;

/** A request of Node's own servers. */
export class NodeExchange extends Exchange {
  private readonly peer: Peer;
  private readonly http2: boolean;
  private body: RequestBody | undefined;
  private waiting = false;
  private passed = 0;
  private answer: Answer | undefined;
  private context: AsyncResource | undefined;
  private done = false;

  constructor(
    private readonly door: Door,
    private readonly req: Req,
    private readonly res: Res,
    private readonly next: Next | undefined,
    private readonly options: ExchangeOptions | undefined,
  ) {
    super();
    this.http2 = req.httpVersionMajor === 2;
    const socket = req.socket;
    this.peer = peerOf(socket, this.http2 ? (req.stream?.session ?? socket) : socket);
  }

  /** Runs the request as far as it goes. False: the gateway has ended. */
  begin(): boolean {
    const { req, peer, door, next } = this;
    const flags = this.bodyFlag() | (next === undefined ? 0 : Begin.passesOn);
    const version = req.httpVersionMajor * 1000 + req.httpVersionMinor;
    const url = this.options?.url ?? (req.url as string);
    const how = door.begin(this, flags, version, req, url, peer);
    if (how === undefined) return false;
    if (how !== 0) {
      this.passOn(how);
    } else if (!this.done) {
      if (next !== undefined) this.context = new AsyncResource('MoonphaseRequest');
      this.watch();
    }
    return true;
  }

  private bodyFlag(): number {
    if (!this.http2) return Begin.bodyByHead; // `headers` would have to be made first
    return this.req.stream?.endAfterHeaders === true ? 0 : Begin.body;
  }

  private watch(): void {
    this.res.on('close', () => this.closed());
  }

  private closed(): void {
    if (this.id < 0) return;
    const { native } = this.door;
    if (this.passed !== 0 && this.answer === undefined) {
      const { id, res, peer } = this;
      const bytesWritten = written(this.req.socket);
      const bytes = this.http2 ? 0 : bytesWritten - peer.written;
      peer.written = bytesWritten;
      this.door.release(this);
      const broken = !(res.writableFinished ?? res.writableEnded);
      native.answered(id, res.statusCode, this.sentHead(), bytes, broken);
    } else {
      native.gone(this.id);
    }
  }

  /** The head of the answer, as HTTP/1 has it. */
  private sentHead(): string {
    const { res } = this;
    if (typeof res._header === 'string') return res._header;
    let head = '\n';
    for (const [name, value] of Object.entries(res.getHeaders())) {
      for (const one of [value].flat()) head += `${name}: ${one}\r\n`;
    }
    return head;
  }

  // --- the answer ---

  output(
    head: string | undefined,
    body: string | Buffer | undefined,
    last: boolean,
    trailers: string | undefined,
  ): boolean {
    try {
      return this.send(head, body, last, trailers);
    } catch {
      // What Node refuses to write: a header's name with spaces in it.
      this.breakOff();
      return true;
    }
  }

  private send(
    head: string | undefined,
    body: string | Buffer | undefined,
    last: boolean,
    trailers: string | undefined,
  ): boolean {
    const writer = this.answer ?? this.plain();
    if (last) this.done = true;
    if (head !== undefined) {
      this.options?.onAnswer?.();
      this.sendHead(writer, head, last && trailers === undefined ? (body?.length ?? 0) : undefined);
    }
    if (last) {
      if (trailers !== undefined) {
        const list: [string, string][] = [];
        eachHeader(trailers, (name, value) => list.push([name, value]));
        writer.trailers(list);
      }
      writer.end(body);
      return true;
    }
    if (body === undefined) {
      writer.flush();
      return true;
    }
    if (writer.write(body)) return true;
    if (!this.waiting) {
      this.waiting = true;
      this.res.on('drain', () => {
        if (this.id >= 0) this.door.native.writable(this.id);
      });
    }
    return false;
  }

  private plain(): Writer {
    const { res } = this;
    return {
      head: (status, text, headers) => {
        // With headers that somebody has set before, Node takes but one of each name from a list.
        if (this.http2 || res.getHeaderNames().length > 0)
          setHead(res, status, text, headers, this.http2);
        else res.writeHead(status, text, headers);
      },
      write: (chunk) => res.write(chunk, 'latin1'),
      end: (chunk) => void res.end(chunk, 'latin1'),
      flush: () => res.flushHeaders(),
      trailers: (list) => res.addTrailers(this.http2 ? Object.fromEntries(list) : list),
    };
  }

  /** `size`: of the whole body, if that is known. */
  private sendHead(writer: Writer, head: string, size: number | undefined): void {
    const words = head.split('\n');
    words.pop();
    const status = words.shift() as string;
    const code = Number.parseInt(status, 10);
    if (size !== undefined && this.req.method !== 'HEAD' && code !== 204 && code !== 304) {
      let known = false;
      for (let i = 0; i < words.length; i += 2) {
        if (words[i]?.toLowerCase() === 'content-length') known = true;
      }
      if (!known) words.push('Content-Length', String(size));
    }
    writer.head(code, status.slice(4), words);
  }

  ended(complete: boolean): void {
    this.done = true;
    if (complete) return;
    this.options?.onAnswer?.();
    this.breakOff();
  }

  /** The client has to see that this is no whole answer; of HTTP/2 a destroyed response would look like one. */
  private breakOff(): void {
    const { req, res } = this;
    if (this.http2 && req.stream !== undefined) {
      req.on('error', () => undefined);
      req.stream.close(INTERNAL_ERROR);
    } else {
      res.destroy();
    }
  }

  wantBody(): void {
    this.body ??= new RequestBody(this.door, this, this.req, this.res, this.next !== undefined);
    if (this.passed === 0) this.body.pump();
  }

  // --- what is passed on ---

  passOn(how: number): void {
    this.passed = how;
    this.body?.stop();
    if ((how & (Passed.url | Passed.headers)) !== 0) this.applyChanges();
    if ((how & Passed.bodyTaken) !== 0) this.putBodyBack();
    if ((how & Passed.filters) !== 0) {
      this.answer = new Answer(this.door, this, this.res, this.http2);
      if (this.context === undefined) this.watch();
    } else if ((how & Passed.logs) !== 0) {
      if (this.context === undefined) this.watch();
    } else {
      const { id } = this;
      this.door.release(this);
      this.door.native.answered(id, 0, '', 0, false);
    }
    const { context, next } = this;
    if (context === undefined) next?.();
    else context.runInAsyncScope(() => next?.());
  }

  /** What Lua has made of the method, the URL and the headers. */
  private applyChanges(): void {
    const text = this.door.native.passedRequest(this.id);
    if (text === undefined) return;
    const { req } = this;
    const words = text.split('\n');
    const [method = '', url = ''] = words.splice(0, 2);
    if ((this.passed & Passed.url) !== 0) {
      req.method = method;
      if (this.options?.url === undefined) req.url = url;
    }
    if ((this.passed & Passed.headers) === 0) return;
    const { headers } = req;
    for (const name of Object.keys(headers)) if (!name.startsWith(':')) delete headers[name];
    for (let i = 0; i + 1 < words.length; i += 2) {
      addHeader(headers, (words[i] as string).toLowerCase(), words[i + 1] as string);
    }
    if (!this.http2) req.rawHeaders = words;
  }

  private putBodyBack(): void {
    const body = this.door.native.passedBody(this.id);
    if (this.body !== undefined) this.body.putBack(body);
    else if (body !== undefined && body.length > 0) this.req.unshift(body);
  }
}

/** Bytes that a socket has taken: `bytesWritten`, which looks at what still waits, costs an array per call. */
function written(socket: SocketLike): number {
  return socket._bytesDispatched ?? socket.bytesWritten ?? 0;
}

/** As Node's parser does it. */
function addHeader(
  headers: Record<string, string | string[] | undefined>,
  name: string,
  value: string,
): void {
  const old = headers[name];
  if (name === 'set-cookie') headers[name] = [...(old === undefined ? [] : [old].flat()), value];
  else if (old === undefined) headers[name] = value;
  else if (name === 'cookie') headers[name] = `${String(old)}; ${value}`;
  else if (name !== 'content-type' && name !== 'host' && name !== 'authorization')
    headers[name] = `${String(old)}, ${value}`;
}

/** A head header by header, those of one name together; HTTP/2 has none of the connection's. */
export function setHead(
  res: Pick<Res, 'setHeader' | 'writeHead'>,
  status: number,
  text: string,
  headers: string[],
  http2: boolean,
): void {
  const all = new Map<string, [name: string, values: string[]]>();
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    const lower = name.toLowerCase();
    if (http2 && CONNECTION.has(lower)) continue;
    const known = all.get(lower);
    if (known === undefined) all.set(lower, [name, [headers[i + 1] as string]]);
    else known[1].push(headers[i + 1] as string);
  }
  for (const [name, values] of all.values()) {
    res.setHeader(name, values.length === 1 ? (values[0] as string) : values);
  }
  if (http2) res.writeHead(status);
  else res.writeHead(status, text);
}
