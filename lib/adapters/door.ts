import type { NativeDoor, NativeGateway } from '../binding.js';
import type { Peer } from './peer.js';

/** What a request that nobody in the gateway answers is passed on with; the addon sets the bits. */
export const Passed = {
  passed: 1,
  url: 2,
  headers: 4,
  bodyTaken: 8,
  filters: 16,
  logs: 32,
} as const;

/** What is said of a request that comes in. */
export const Begin = { ssl: 1, body: 2, stream: 4, passesOn: 8, bodyByHead: 16 } as const;

/** The addon's calls: see native/bind/door.h. */
enum Event {
  output,
  body,
  pass,
  end,
}

/** A request on its way through the gateway, as the server that has its connection sees it. */
export abstract class Exchange {
  /** The addon's name for it; -1: it is over there. */
  id = -1;
  /** Bytes of the answer, strings are latin1; false: `Door.writable` says when there is room. */
  abstract output(
    head: string | undefined,
    body: string | Buffer | undefined,
    last: boolean,
    trailers: string | undefined,
  ): boolean;
  /** The body is wanted: `Door.push` and `pushEnd` bring it. */
  abstract wantBody(): void;
  /** Somebody else gives the content. */
  abstract passOn(how: number): void;
  /** Nothing follows. */
  abstract ended(complete: boolean): void;
}

/** Where requests of other servers enter a native gateway, and its answers come out. */
export class Door {
  private readonly open: (Exchange | undefined)[] = [];
  private readonly free: number[] = [];

  readonly native: NativeDoor;

  constructor(gateway: NativeGateway) {
    this.native = gateway.door((id, event, first, body, last, trailers) => {
      const exchange = this.open[id];
      if (exchange === undefined) return true;
      switch (event as Event) {
        case Event.output:
          if (last === true) this.release(exchange);
          return exchange.output(first as string | undefined, body, last === true, trailers);
        case Event.body:
          exchange.wantBody();
          return true;
        case Event.pass:
          exchange.passOn(first as number);
          return true;
        default:
          this.release(exchange);
          exchange.ended(first as boolean);
          return true;
      }
    });
  }

  /** Brings a request in. What it is passed on with; 0: it is not, or not yet; undefined: the gateway has ended. */
  begin(
    exchange: Exchange,
    flags: number,
    version: number,
    { method, rawHeaders }: { readonly method?: string; readonly rawHeaders: readonly string[] },
    url: string,
    peer: Peer,
  ): number | undefined {
    const id = this.free.pop() ?? this.open.length;
    this.open[id] = exchange;
    exchange.id = id;
    const how = this.native.begin(
      id,
      peer.ssl ? flags | Begin.ssl : flags,
      version,
      method as string,
      url,
      rawHeaders.join('\n'),
      peer.connection,
      peer.requests,
      peer.remote,
      peer.local,
    );
    if (how === undefined) this.release(exchange);
    return how;
  }

  release(exchange: Exchange): void {
    if (exchange.id < 0) return;
    this.open[exchange.id] = undefined;
    this.free.push(exchange.id);
    exchange.id = -1;
  }
}

/** Calls back with each name and value of "name\nvalue\n…". */
export function eachHeader(lines: string, use: (name: string, value: string) => void): void {
  const words = lines.split('\n');
  for (let i = 0; i + 1 < words.length; i += 2) use(words[i] as string, words[i + 1] as string);
}
