/** What of a socket an adapter reads: Node's own, TLS', an HTTP/2 session's. */
export interface SocketLike {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  readonly encrypted?: boolean;
  readonly bytesWritten?: number;
  readonly _bytesDispatched?: number | undefined;
}

/** A client's connection, which many requests may come by. */
export interface Peer {
  readonly remote: string;
  readonly local: string;
  readonly ssl: boolean;
  readonly connection: number;
  requests: number;
  /** What was written when the last request ended. */
  written: number;
}

/** Where a connection's object has its peer: a property is found faster than what a WeakMap has. */
const PEER = Symbol('moonphase.peer');
let connections = 0;

/** The connection of a socket; one more request has come by it. */
export function peerOf(socket: SocketLike, key: object = socket): Peer {
  const holder = key as { [PEER]?: Peer };
  let peer = holder[PEER];
  if (peer === undefined) {
    peer = {
      remote: `${socket.remoteAddress ?? ''} ${socket.remotePort ?? 0}`,
      local: `${socket.localAddress ?? ''} ${socket.localPort ?? 0}`,
      ssl: socket.encrypted === true,
      connection: ++connections,
      requests: 0,
      written: 0,
    };
    Object.defineProperty(holder, PEER, { value: peer });
  }
  peer.requests++;
  return peer;
}
