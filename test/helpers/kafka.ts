// A small Kafka broker: one node, topics in memory. It speaks what lua-resty-kafka asks for (produce, fetch, list offsets,
// metadata, API versions, SASL), checks what it gets, and can be told to refuse. No registry has a broker that would start
// without a JVM.
import crypto from 'node:crypto';
import net from 'node:net';
import tls from 'node:tls';
import zlib from 'node:zlib';

export const ERRORS = {
  NONE: 0,
  OFFSET_OUT_OF_RANGE: 1,
  CORRUPT_MESSAGE: 2,
  UNKNOWN_TOPIC: 3,
  NOT_LEADER: 6,
  UNSUPPORTED_SASL_MECHANISM: 33,
  UNSUPPORTED_VERSION: 35,
  SASL_AUTHENTICATION_FAILED: 58,
} as const;

const PRODUCE = 0;
const FETCH = 1;
const LIST_OFFSETS = 2;
const METADATA = 3;
const SASL_HANDSHAKE = 17;
const API_VERSIONS = 18;
const SASL_AUTHENTICATE = 36;

/** What is answered, from version 0 to this one. */
const newest: Readonly<Record<number, number>> = {
  [PRODUCE]: 2,
  [FETCH]: 11,
  [LIST_OFFSETS]: 2,
  [METADATA]: 1,
  [SASL_HANDSHAKE]: 1,
  [API_VERSIONS]: 2,
  [SASL_AUTHENTICATE]: 1,
};

export interface Message {
  readonly key: string;
  readonly value: string;
}

export interface BrokerOptions {
  /** Topics and how many partitions each has. */
  readonly topics: Readonly<Record<string, number>>;
  readonly port?: number;
  readonly tls?: { readonly key: string; readonly cert: string };
  readonly sasl?: { readonly user: string; readonly password: string };
}

/** A request, read from front to back. */
class Reader {
  private at = 0;
  constructor(private readonly data: Buffer) {}
  skip(bytes: number): void {
    this.at += bytes;
  }
  int8(): number {
    return this.data.readInt8((this.at += 1) - 1);
  }
  int16(): number {
    return this.data.readInt16BE((this.at += 2) - 2);
  }
  int32(): number {
    return this.data.readInt32BE((this.at += 4) - 4);
  }
  int64(): number {
    return Number(this.data.readBigInt64BE((this.at += 8) - 8));
  }
  take(length: number): Buffer {
    if (length < 0) return Buffer.alloc(0);
    return this.data.subarray(this.at, (this.at += length));
  }
  string(): string {
    return this.take(this.int16()).toString('latin1');
  }
  bytes(): Buffer {
    return this.take(this.int32());
  }
  array<T>(read: () => T): T[] {
    return Array.from({ length: Math.max(0, this.int32()) }, read);
  }
  get left(): number {
    return this.data.length - this.at;
  }
}

class Writer {
  private readonly parts: Buffer[] = [];
  private add(length: number, write: (part: Buffer) => void): this {
    const part = Buffer.alloc(length);
    write(part);
    return this.raw(part);
  }
  raw(part: Buffer): this {
    this.parts.push(part);
    return this;
  }
  int8(value: number): this {
    return this.add(1, (part) => part.writeInt8(value));
  }
  int16(value: number): this {
    return this.add(2, (part) => part.writeInt16BE(value));
  }
  int32(value: number): this {
    return this.add(4, (part) => part.writeInt32BE(value));
  }
  uint32(value: number): this {
    return this.add(4, (part) => part.writeUInt32BE(value));
  }
  int64(value: number): this {
    return this.add(8, (part) => part.writeBigInt64BE(BigInt(value)));
  }
  /** As records have it: zigzag, seven bits at a time. */
  varint(value: number): this {
    const bytes: number[] = [];
    let rest = ((value << 1) ^ (value >> 31)) >>> 0;
    for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
    return this.raw(Buffer.from([...bytes, rest]));
  }
  string(text: string | null): this {
    if (text === null) return this.int16(-1);
    const part = Buffer.from(text, 'latin1');
    return this.int16(part.length).raw(part);
  }
  bytes(part: Buffer): this {
    return this.int32(part.length).raw(part);
  }
  array<T>(items: readonly T[], write: (item: T) => void): this {
    this.int32(items.length);
    items.forEach(write);
    return this;
  }
  done(): Buffer {
    return Buffer.concat(this.parts);
  }
}

const castagnoli = Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; ++k) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  return c >>> 0;
});
function crc32c(data: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = (castagnoli[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Messages out of a message set (magic 0 and 1); undefined if one of its sums is wrong. */
function readMessageSet(set: Buffer): Message[] | undefined {
  const reader = new Reader(set);
  const messages: Message[] = [];
  while (reader.left > 0) {
    reader.skip(8);
    const message = reader.bytes();
    if (message.readUInt32BE(0) !== zlib.crc32(message.subarray(4))) return undefined;
    const body = new Reader(message.subarray(4));
    const magic = body.int8();
    body.skip(magic === 1 ? 9 : 1);
    messages.push({ key: body.bytes().toString('latin1'), value: body.bytes().toString('latin1') });
  }
  return messages;
}

/** A message set with magic 1. */
function messageSet(messages: readonly Message[], first: number): Buffer {
  const set = new Writer();
  messages.forEach(({ key, value }, i) => {
    const body = new Writer().int8(1).int8(0).int64(Date.now());
    for (const part of [key, value]) body.bytes(Buffer.from(part, 'latin1'));
    const rest = body.done();
    set.int64(first + i).bytes(new Writer().uint32(zlib.crc32(rest)).raw(rest).done());
  });
  return set.done();
}

/** The same as one batch of records (magic 2). */
function recordBatch(messages: readonly Message[], first: number): Buffer {
  if (!messages.length) return Buffer.alloc(0);
  const now = Date.now();
  const body = new Writer()
    .int16(0)
    .int32(messages.length - 1)
    .int64(now)
    .int64(now);
  body.int64(-1).int16(-1).int32(-1);
  body.array([...messages.entries()], ([i, { key, value }]) => {
    const record = new Writer().int8(0).varint(0).varint(i);
    for (const part of [key, value]) record.varint(part.length).raw(Buffer.from(part, 'latin1'));
    const rest = record.varint(0).done();
    body.varint(rest.length).raw(rest);
  });
  const rest = body.done();
  const sum = crc32c(rest);
  return new Writer()
    .int64(first)
    .bytes(new Writer().int32(0).int8(2).uint32(sum).raw(rest).done())
    .done();
}

/** The server's side of SCRAM (RFC 5802): answers to the client's two messages. */
class Scram {
  private first = '';
  private readonly salt = crypto.randomBytes(16);
  private nonce = '';
  constructor(
    private readonly hash: string,
    private readonly password: string,
  ) {}
  challenge(message: string): string {
    const bare = message.slice(3);
    this.nonce = /r=([^,]*)/.exec(bare)?.[1] + crypto.randomBytes(9).toString('hex');
    const answer = `r=${this.nonce},s=${this.salt.toString('base64')},i=4096`;
    this.first = `${bare},${answer}`;
    return answer;
  }
  /** The server's signature, or undefined where the proof is none. */
  verify(message: string): string | undefined {
    const [, head = '', nonce, proof = ''] = /^(c=[^,]*,r=([^,]*)),p=(.*)$/.exec(message) ?? [];
    if (nonce !== this.nonce) return undefined;
    const size = crypto.createHash(this.hash).digest().length;
    const salted = crypto.pbkdf2Sync(this.password, this.salt, 4096, size, this.hash);
    const mac = (key: Buffer, text: string) =>
      crypto.createHmac(this.hash, key).update(text).digest();
    const clientKey = mac(salted, 'Client Key');
    const stored = crypto.createHash(this.hash).update(clientKey).digest();
    const all = `${this.first},${head}`;
    const expected = mac(stored, all).map((byte, i) => byte ^ (clientKey[i] as number));
    if (!expected.equals(Buffer.from(proof, 'base64'))) return undefined;
    return `v=${mac(mac(salted, 'Server Key'), all).toString('base64')}`;
  }
}

/** What a connection has said of itself. */
interface Session {
  authenticated: boolean;
  mechanism: string;
  scram?: Scram;
}

export class KafkaBroker {
  readonly log = new Map<string, Message[][]>();
  /** Errors for the next produce requests, each for one. */
  readonly failures: number[] = [];
  connections = 0;
  port = 0;
  private readonly open = new Set<net.Socket>();
  private server!: net.Server;

  private constructor(private readonly options: BrokerOptions) {
    for (const [topic, partitions] of Object.entries(options.topics))
      this.log.set(
        topic,
        Array.from({ length: partitions }, () => []),
      );
  }

  static async start(options: BrokerOptions): Promise<KafkaBroker> {
    const broker = new KafkaBroker(options);
    const serve = (socket: net.Socket) => broker.serve(socket);
    broker.server = options.tls ? tls.createServer(options.tls, serve) : net.createServer(serve);
    await new Promise<void>((done) =>
      broker.server.listen(options.port ?? 0, '127.0.0.1', () => done()),
    );
    broker.port = (broker.server.address() as net.AddressInfo).port;
    return broker;
  }

  stop(): Promise<void> {
    for (const socket of this.open) socket.destroy();
    return new Promise((done) => this.server.close(() => done()));
  }

  private serve(socket: net.Socket): void {
    ++this.connections;
    this.open.add(socket);
    socket.on('close', () => this.open.delete(socket)).on('error', () => socket.destroy());
    const session: Session = { authenticated: !this.options.sasl, mechanism: '' };
    let held = Buffer.alloc(0);
    socket.on('data', (data) => {
      held = Buffer.concat([held, data]);
      while (held.length >= 4 && held.length >= 4 + held.readInt32BE(0)) {
        const size = held.readInt32BE(0);
        const answer = this.answer(session, new Reader(held.subarray(4, 4 + size)));
        held = held.subarray(4 + size);
        if (answer) socket.write(new Writer().bytes(answer).done());
        else return void socket.destroy();
      }
    });
  }

  /** Undefined where a broker would hang up. */
  private answer(session: Session, request: Reader): Buffer | undefined {
    const api = request.int16();
    const version = request.int16();
    const out = new Writer().int32(request.int32());
    request.string(); // the client's name
    const open = api === SASL_HANDSHAKE || api === SASL_AUTHENTICATE || api === API_VERSIONS;
    if (!open && !session.authenticated) return undefined;
    if (version > (newest[api] ?? -1)) return undefined;
    switch (api) {
      case API_VERSIONS:
        out.int16(ERRORS.NONE).array(Object.entries(newest), ([key, max]) => {
          out.int16(Number(key)).int16(0).int16(max);
        });
        if (version > 0) out.int32(0);
        break;
      case METADATA:
        this.metadata(request, version, out);
        break;
      case PRODUCE:
        this.produce(request, version, out);
        break;
      case LIST_OFFSETS:
        this.listOffsets(request, version, out);
        break;
      case FETCH:
        this.fetch(request, version, out);
        break;
      case SASL_HANDSHAKE:
        this.handshake(session, request, out);
        break;
      default:
        this.authenticate(session, request, version, out);
    }
    return out.done();
  }

  private metadata(request: Reader, version: number, out: Writer): void {
    out.int32(1).int32(0).string('127.0.0.1').int32(this.port);
    if (version > 0) out.string(null).int32(0);
    out.array(
      request.array(() => request.string()),
      (topic) => {
        const partitions = this.log.get(topic);
        out.int16(partitions ? ERRORS.NONE : ERRORS.UNKNOWN_TOPIC).string(topic);
        if (version > 0) out.int8(0);
        out.array([...(partitions ?? []).keys()], (id) => {
          out.int16(ERRORS.NONE).int32(id).int32(0);
          for (let list = 0; list < 2; ++list) out.int32(1).int32(0);
        });
      },
    );
  }

  private produce(request: Reader, version: number, out: Writer): void {
    request.skip(6); // acks, timeout
    const refused = this.failures.shift();
    out.array(
      request.array(() => ({
        topic: request.string(),
        sets: request.array(() => ({ id: request.int32(), set: request.bytes() })),
      })),
      ({ topic, sets }) => {
        out.string(topic).array(sets, ({ id, set }) => {
          const partition = this.log.get(topic)?.[id];
          const messages = readMessageSet(set);
          const wrong = partition ? ERRORS.CORRUPT_MESSAGE : ERRORS.UNKNOWN_TOPIC;
          const error = refused ?? (partition && messages ? ERRORS.NONE : wrong);
          out
            .int32(id)
            .int16(error)
            .int64(error || !partition ? -1 : partition.length);
          if (version > 1) out.int64(-1);
          if (!error) partition?.push(...(messages ?? []));
        });
      },
    );
    if (version > 0) out.int32(0);
  }

  private listOffsets(request: Reader, version: number, out: Writer): void {
    request.skip(version > 1 ? 5 : 4);
    if (version > 1) out.int32(0);
    out.array(
      request.array(() => ({
        topic: request.string(),
        asked: request.array(() => {
          const asked = { id: request.int32(), time: request.int64() };
          if (version === 0) request.skip(4);
          return asked;
        }),
      })),
      ({ topic, asked }) => {
        out.string(topic).array(asked, ({ id, time }) => {
          const partition = this.log.get(topic)?.[id];
          const offset = time === -1 ? (partition?.length ?? 0) : 0;
          out.int32(id).int16(partition ? ERRORS.NONE : ERRORS.UNKNOWN_TOPIC);
          if (version === 0) out.int32(1);
          else out.int64(-1);
          out.int64(offset);
        });
      },
    );
  }

  private fetch(request: Reader, version: number, out: Writer): void {
    request.skip(12 + (version > 2 ? 4 : 0) + (version > 3 ? 1 : 0) + (version > 6 ? 8 : 0));
    if (version > 0) out.int32(0);
    if (version > 6) out.int16(ERRORS.NONE).int32(0);
    out.array(
      request.array(() => ({
        topic: request.string(),
        asked: request.array(() => {
          const id = request.int32();
          if (version > 8) request.skip(4);
          const offset = request.int64();
          request.skip(version > 4 ? 12 : 4);
          return { id, offset };
        }),
      })),
      ({ topic, asked }) => {
        out.string(topic).array(asked, ({ id, offset }) => {
          const partition = this.log.get(topic)?.[id];
          const outside = offset < 0 || offset > (partition?.length ?? 0);
          out.int32(id).int16(outside ? ERRORS.OFFSET_OUT_OF_RANGE : ERRORS.NONE);
          out.int64(partition?.length ?? -1);
          if (version > 3) out.int64(partition?.length ?? -1);
          if (version > 4) out.int64(0);
          if (version > 3) out.int32(0);
          if (version > 10) out.int32(-1);
          const messages = outside ? [] : (partition?.slice(offset) ?? []);
          out.bytes((version > 3 ? recordBatch : messageSet)(messages, offset));
        });
      },
    );
  }

  private handshake(session: Session, request: Reader, out: Writer): void {
    session.mechanism = request.string();
    const known = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'];
    const error = known.includes(session.mechanism) ? 0 : ERRORS.UNSUPPORTED_SASL_MECHANISM;
    out.int16(error).array(known, (name) => out.string(name));
  }

  private authenticate(session: Session, request: Reader, version: number, out: Writer): void {
    const message = request.bytes().toString('latin1');
    const { user, password } = this.options.sasl ?? { user: '', password: '' };
    let answer: string | undefined;
    if (session.mechanism === 'PLAIN') {
      session.authenticated = message === `\0${user}\0${password}`;
      answer = session.authenticated ? '' : undefined;
    } else if (session.scram) {
      answer = session.scram.verify(message);
      session.authenticated = answer !== undefined;
    } else if (message.startsWith(`n,,n=${user},`)) {
      session.scram = new Scram(session.mechanism.slice(6).replace('-', ''), password);
      answer = session.scram.challenge(message);
    }
    if (answer === undefined)
      out.int16(ERRORS.SASL_AUTHENTICATION_FAILED).string('Authentication failed');
    else out.int16(ERRORS.NONE).string(null);
    out.bytes(Buffer.from(answer ?? '', 'latin1'));
    if (version > 0) out.int64(0);
  }
}
