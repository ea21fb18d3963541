// HTTP/2 as bytes: a peer that may send what no library would.
import net from 'node:net';

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export const TYPE = {
  data: 0,
  headers: 1,
  priority: 2,
  rst: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const;

export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;
export const PADDED = 8;
export const PRIORITY = 0x20;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer | string = '',
): Buffer {
  const body = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload;
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream >>> 0, 5);
  return Buffer.concat([head, body]);
}

export function u32(n: number): Buffer {
  const b = Buffer.alloc(4);
  b.writeUInt32BE(n >>> 0);
  return b;
}

function length(n: number): Buffer {
  if (n < 127) return Buffer.from([n]);
  const bytes = [127];
  for (n -= 127; n >= 128; n = Math.floor(n / 128)) bytes.push((n % 128) | 128);
  bytes.push(n);
  return Buffer.from(bytes);
}

export type Fields = readonly (readonly [string, string])[];

/** Fields as literals without indexing. */
export function hpack(fields: Fields): Buffer {
  return Buffer.concat(
    fields.flatMap(([name, value]) => [
      Buffer.from([0]),
      length(name.length),
      Buffer.from(name, 'latin1'),
      length(value.length),
      Buffer.from(value, 'latin1'),
    ]),
  );
}

export const GET: Fields = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'localhost'],
];

export const POST: Fields = [[':method', 'POST'], ...GET.slice(1)];

export function headers(stream: number, fields: Fields = GET, flags = END_STREAM): Buffer {
  return frame(TYPE.headers, flags | END_HEADERS, stream, hpack(fields));
}

export function setting(id: number, value: number): Buffer {
  return Buffer.concat([Buffer.from([id >> 8, id & 255]), u32(value)]);
}

/** The digits of a `:status` that is not in HPACK's table, which may be Huffman-coded. */
function digits(bytes: Buffer, coded: boolean): string {
  if (!coded) return bytes.toString('latin1');
  let bits = '';
  for (const byte of bytes) bits += byte.toString(2).padStart(8, '0');
  let text = '';
  while (text.length < 3) {
    const five = parseInt(bits.slice(0, 5), 2);
    if (five < 3) {
      text += String(five);
      bits = bits.slice(5);
    } else {
      text += String(parseInt(bits.slice(0, 6), 2) - 0x19 + 3);
      bits = bits.slice(6);
    }
  }
  return text;
}

/** The status of a response's header block, which comes first in it. */
export function statusOf(block: Buffer): string {
  let at = 0;
  while (((block[at] ?? 0) & 0xe0) === 0x20) ++at; // table size updates
  const first = block[at] ?? 0;
  if (first & 0x80) {
    return ['200', '204', '206', '304', '400', '404', '500'][(first & 0x7f) - 8] ?? `#${first}`;
  }
  const n = block[at + 1] ?? 0;
  return digits(block.subarray(at + 2, at + 2 + (n & 0x7f)), (n & 0x80) !== 0);
}

/** A connection as frames: a client's, or with accept() a server's. */
export class RawPeer {
  readonly frames: Frame[] = [];
  closed = false;
  private rest = Buffer.alloc(0);
  private readonly waiting: (() => void)[] = [];

  private constructor(
    readonly socket: net.Socket,
    private preface = 0,
  ) {
    socket.on('data', (data) => {
      this.rest = Buffer.concat([this.rest, data]);
      if (this.rest.length < this.preface) return;
      this.rest = this.rest.subarray(this.preface);
      this.preface = 0;
      while (this.rest.length >= 9) {
        const n = this.rest.readUIntBE(0, 3);
        if (this.rest.length < 9 + n) break;
        this.frames.push({
          type: this.rest[3] as number,
          flags: this.rest[4] as number,
          stream: this.rest.readUInt32BE(5) & 0x7fffffff,
          payload: Buffer.from(this.rest.subarray(9, 9 + n)),
        });
        this.rest = this.rest.subarray(9 + n);
      }
      this.wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => this.end());
    socket.on('end', () => this.end());
  }

  static async connect(port: number, first: Buffer | undefined = undefined): Promise<RawPeer> {
    const socket = net.connect(port, '127.0.0.1');
    await new Promise<void>((done, fail) => {
      socket.once('connect', () => done());
      socket.once('error', fail);
    });
    const peer = new RawPeer(socket);
    peer.send(first ?? Buffer.concat([PREFACE, frame(TYPE.settings, 0, 0)]));
    return peer;
  }

  static accept(socket: net.Socket): RawPeer {
    return new RawPeer(socket, PREFACE.length);
  }

  private end(): void {
    this.closed = true;
    this.wake();
  }

  private wake(): void {
    for (const one of this.waiting.splice(0)) one();
  }

  send(...bytes: Buffer[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(bytes));
  }

  /** The first value that `look` finds, or undefined when the connection ends or time is over. */
  async until<T>(look: () => T | undefined, ms = 3000): Promise<T | undefined> {
    const end = Date.now() + ms;
    for (;;) {
      const found = look();
      if (found !== undefined || this.closed || Date.now() >= end) return found;
      await new Promise<void>((done) => {
        const timer = setTimeout(done, Math.max(1, end - Date.now()));
        this.waiting.push(() => {
          clearTimeout(timer);
          done();
        });
      });
    }
  }

  find(type: number, stream?: number): Frame | undefined {
    return this.frames.find(
      (f) => f.type === type && (stream === undefined || f.stream === stream),
    );
  }

  /**
   * How the server reacts to what was sent on a stream: a status, `RST n`, `GOAWAY n`, `closed`, or `nothing`.
   */
  async reaction(stream: number, ms = 3000): Promise<string> {
    const found = await this.until(() => {
      const goaway = this.frames.find((f) => f.type === TYPE.goaway && f.payload.readUInt32BE(4));
      if (goaway) return `GOAWAY ${goaway.payload.readUInt32BE(4)}`;
      const head = this.find(TYPE.headers, stream);
      if (head) return statusOf(head.payload);
      const reset = this.find(TYPE.rst, stream);
      if (reset) return `RST ${reset.payload.readUInt32BE(0)}`;
      return undefined;
    }, ms);
    if (found !== undefined) return found;
    const quiet = this.find(TYPE.goaway);
    if (quiet) return 'GOAWAY 0';
    return this.closed ? 'closed' : 'nothing';
  }

  body(stream: number): string {
    return this.frames
      .filter((f) => f.type === TYPE.data && f.stream === stream)
      .map((f) => f.payload.toString('latin1'))
      .join('');
  }

  destroy(): void {
    this.socket.destroy();
  }
}
