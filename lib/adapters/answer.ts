import type { Door, Exchange } from './door.js';
import { setHead, type Res, type Writer } from './node.js';

type Callback = (error?: Error | null) => void;

/**
 * What a framework answers to a request that was passed on, led through the gateway's filters: its head and its chunks
 * go in where the framework writes them, and what the filters make of them is written instead.
 */
export class Answer implements Writer {
  private readonly original: {
    writeHead: Res['writeHead'];
    write: (chunk: string | Buffer, encoding: BufferEncoding) => boolean;
    end: (chunk?: string | Buffer, encoding?: BufferEncoding) => unknown;
    flushHeaders: () => void;
    addTrailers: Res['addTrailers'];
  };
  private started = false;
  private ended = false;
  private blocked = false;
  private trailerLines = '';

  constructor(
    private readonly door: Door,
    private readonly exchange: Exchange,
    private readonly res: Res,
    private readonly http2: boolean,
  ) {
    this.original = {
      writeHead: res.writeHead.bind(res),
      write: res.write.bind(res) as (chunk: string | Buffer, encoding: BufferEncoding) => boolean,
      end: res.end.bind(res),
      flushHeaders: res.flushHeaders.bind(res),
      addTrailers: res.addTrailers.bind(res),
    };
    Object.assign(res, {
      writeHead: (
        status: number,
        text?: string | Record<string, string> | string[],
        headers?: Record<string, string> | string[],
      ) => this.takeHead(status, text, headers),
      write: (chunk: unknown, encoding?: BufferEncoding | Callback, callback?: Callback) =>
        this.takeChunk(chunk, encoding, callback),
      end: (chunk?: unknown, encoding?: BufferEncoding | Callback, callback?: Callback) =>
        this.takeEnd(chunk, encoding, callback),
      flushHeaders: () => this.takeFlush(),
      addTrailers: (list: Record<string, string> | [string, string][]) => {
        const pairs = Array.isArray(list) ? list : Object.entries(list);
        for (const [name, value] of pairs) this.trailerLines += `${name}\n${value}\n`;
      },
    });
  }

  // --- what the framework writes ---

  private takeHead(
    status: number,
    text?: string | Record<string, string> | string[],
    headers?: Record<string, string> | string[],
  ): Res {
    const { res } = this;
    res.statusCode = status;
    if (typeof text === 'string') res.statusMessage = text;
    const more = typeof text === 'string' ? headers : (text ?? headers);
    if (Array.isArray(more)) {
      for (let i = 0; i + 1 < more.length; i += 2) {
        res.setHeader(more[i] as string, more[i + 1] as string);
      }
    } else if (more !== undefined) {
      for (const [name, value] of Object.entries(more)) res.setHeader(name, value);
    }
    this.start();
    return res;
  }

  /** The head goes into the filters. */
  private start(): void {
    if (this.started || this.exchange.id < 0) return;
    this.started = true;
    const { res } = this;
    let lines = '';
    for (const [name, value] of Object.entries(res.getHeaders())) {
      for (const one of [value].flat()) lines += `${name}\n${one}\n`;
    }
    const text = res.statusMessage ? `${res.statusCode} ${res.statusMessage}` : '';
    this.door.native.answerHead(this.exchange.id, res.statusCode, text, lines);
  }

  private takeChunk(
    chunk: unknown,
    encoding?: BufferEncoding | Callback,
    callback?: Callback,
  ): boolean {
    const done = typeof encoding === 'function' ? encoding : callback;
    this.start();
    const { id } = this.exchange;
    if (done !== undefined) process.nextTick(done);
    if (id < 0) return true;
    const bytes = toBytes(chunk, encoding);
    if (bytes.length === 0) return true;
    const more = this.door.native.answerBody(id, bytes, false, '') !== false;
    if (!more) this.blocked = true;
    return more;
  }

  private takeEnd(chunk?: unknown, encoding?: BufferEncoding | Callback, callback?: Callback): Res {
    const { res } = this;
    const done = [chunk, encoding, callback].find((a): a is Callback => typeof a === 'function');
    if (done !== undefined) res.on('finish', () => done());
    if (this.ended) return res;
    this.ended = true;
    this.start();
    const { id } = this.exchange;
    if (id < 0) {
      // The filters have answered instead, or the client has gone.
      return res;
    }
    const bytes = typeof chunk === 'function' ? Buffer.alloc(0) : toBytes(chunk, encoding);
    this.door.native.answerBody(id, bytes, true, this.trailerLines);
    return res;
  }

  private takeFlush(): void {
    this.start();
    const { id } = this.exchange;
    if (id >= 0) this.door.native.answerBody(id, Buffer.alloc(0), false, '');
  }

  // --- what the filters make of it ---

  head(status: number, text: string, headers: string[]): void {
    const { res } = this;
    for (const name of res.getHeaderNames()) res.removeHeader(name);
    res.statusMessage = '';
    if (this.http2) {
      const { writeHead } = this.original;
      setHead({ setHeader: res.setHeader.bind(res), writeHead }, status, text, headers, true);
    } else {
      this.original.writeHead(status, text, headers);
    }
  }

  write(chunk: string | Buffer): boolean {
    const more = this.original.write(chunk, 'latin1');
    if (more && this.blocked) {
      // Node has not asked anybody to wait: we did.
      this.blocked = false;
      setImmediate(() => this.res.emit('drain'));
    }
    return more;
  }

  end(chunk?: string | Buffer): void {
    // HTTP/2's end() would call the write() that stands in its place.
    if (!this.http2) {
      this.original.end(chunk, 'latin1');
      return;
    }
    if (chunk !== undefined) this.original.write(chunk, 'latin1');
    this.original.end();
  }

  flush(): void {
    this.original.flushHeaders();
  }

  trailers(list: [string, string][]): void {
    this.original.addTrailers(this.http2 ? Object.fromEntries(list) : list);
  }
}

function toBytes(chunk: unknown, encoding: unknown): Buffer {
  if (chunk === undefined || chunk === null) return Buffer.alloc(0);
  if (typeof chunk === 'string') {
    return Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8');
  }
  if (Buffer.isBuffer(chunk)) return chunk;
  const { buffer, byteOffset, byteLength } = chunk as Uint8Array;
  return Buffer.from(buffer, byteOffset, byteLength);
}
