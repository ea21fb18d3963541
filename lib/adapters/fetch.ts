import { MoonphaseError } from '../errors.js';
import { Begin, Exchange, eachHeader, type Door } from './door.js';
import { peerOf } from './peer.js';

/** Answers that have no body, not even an empty one. */
const BODILESS = new Set([101, 204, 205, 304]);

const NOBODY = { remoteAddress: '127.0.0.1', localAddress: '127.0.0.1' };

/** A `Request` that no socket has brought. */
export class FetchExchange extends Exchange {
  readonly response: Promise<Response>;
  private resolve!: (response: Response) => void;
  private reject!: (error: unknown) => void;
  private stream: ReadableStreamDefaultController<Uint8Array> | undefined;
  private reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  private reading = false;
  private over = false;

  constructor(
    private readonly door: Door,
    private readonly request: Request,
  ) {
    super();
    this.response = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  /** False: the gateway has ended. */
  begin(): boolean {
    const { request, door } = this;
    if (!(request instanceof Request))
      throw new MoonphaseError('ERR_MOONPHASE_OPTION', 'fetch takes a Request');
    const { signal } = request;
    if (signal.aborted) {
      this.reject(signal.reason);
      return true;
    }
    const url = new URL(request.url);
    const ssl = url.protocol === 'https:';
    const lines: string[] = [];
    if (!request.headers.has('host')) lines.push('Host', url.host);
    request.headers.forEach((value, name) => lines.push(name, value));
    const peer = {
      ...peerOf(NOBODY, this),
      ssl,
      local: `127.0.0.1 ${url.port || (ssl ? 443 : 80)}`,
    };
    const flags = request.body === null ? 0 : Begin.body;
    const named = { method: request.method, rawHeaders: lines };
    const how = door.begin(this, flags, 1001, named, url.pathname + url.search, peer);
    if (how === undefined) return false;
    if (this.id >= 0) {
      signal.addEventListener('abort', () => this.abort(signal.reason), { once: true });
    }
    return true;
  }

  private abort(reason: unknown): void {
    if (this.over) return;
    this.over = true;
    this.reject(reason);
    this.stream?.error(reason);
    this.leave();
  }

  private leave(): void {
    if (this.id >= 0) this.door.native.gone(this.id);
  }

  output(head: string | undefined, body: string | Buffer | undefined, last: boolean): boolean {
    if (head !== undefined && !this.over) {
      try {
        this.start(head, last && body === undefined);
      } catch (error) {
        // a status or header that no Response can have
        this.over = true;
        this.reject(error);
      }
    }
    const { stream } = this;
    let room = true;
    if (stream !== undefined && !this.over) {
      if (body !== undefined) {
        stream.enqueue(
          typeof body === 'string' ? new Uint8Array(Buffer.from(body, 'latin1')) : body,
        );
        room = (stream.desiredSize ?? 1) > 0;
      }
      if (last) stream.close();
    }
    if (last) this.finish();
    return room;
  }

  private start(head: string, empty: boolean): void {
    const end = head.indexOf('\n');
    const line = head.slice(0, end);
    const headers = new Headers();
    eachHeader(head.slice(end + 1), (name, value) => {
      if (name !== 'Connection') headers.append(name, value);
    });
    const status = Number.parseInt(line, 10);
    const init = { status, statusText: line.slice(4), headers };
    if (BODILESS.has(status) || this.request.method === 'HEAD' || empty) {
      this.resolve(new Response(null, init));
      return;
    }
    const stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.stream = controller;
        },
        pull: () => {
          if (this.id >= 0) this.door.native.writable(this.id);
        },
        cancel: () => {
          this.over = true;
          this.leave();
        },
      },
      { highWaterMark: 65_536, size: (chunk) => chunk?.byteLength ?? 0 },
    );
    this.resolve(new Response(stream, init));
  }

  private finish(): void {
    this.over = true;
    void this.reader?.cancel().catch(() => undefined);
  }

  ended(complete: boolean): void {
    if (!complete && !this.over) {
      const error = new TypeError('the gateway has closed the connection without an answer');
      this.reject(error);
      this.stream?.error(error);
    }
    this.finish();
  }

  wantBody(): void {
    if (this.reading) return;
    this.reading = true;
    void this.pump();
  }

  private async pump(): Promise<void> {
    const { native } = this.door;
    try {
      this.reader ??= (
        this.request.body as ReadableStream<Uint8Array> | null
      )?.getReader() as ReadableStreamDefaultReader<Uint8Array>;
      for (let more: boolean | undefined = true; more !== false && this.id >= 0;) {
        const { done, value } = await this.reader.read();
        if (this.id < 0) return;
        if (done) {
          native.pushEnd(this.id);
          return;
        }
        more = native.push(this.id, value);
      }
      this.reading = false;
    } catch (error) {
      this.abort(error);
    }
  }

  passOn(): void {
    // Requests of fetch() are not passed on.
  }
}
