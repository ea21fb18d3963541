import type { Duplex } from 'node:stream';
import { Begin, Exchange, type Door } from './door.js';
import type { Req } from './node.js';
import { peerOf, type SocketLike } from './peer.js';

/** An upgraded connection: what Lua reads and writes are its bytes. */
export class UpgradeExchange extends Exchange {
  private paused = false;
  private waiting = false;

  constructor(
    private readonly door: Door,
    private readonly req: Req,
    private readonly socket: Duplex,
    private readonly first: Buffer,
  ) {
    super();
  }

  /** False: the gateway has ended. */
  begin(): boolean {
    const { door, req, socket } = this;
    const { native } = door;
    const peer = peerOf(socket as Duplex & SocketLike);
    socket.on('error', () => undefined); // 'close' follows
    socket.on('close', () => {
      if (this.id >= 0) native.gone(this.id);
    });
    if (door.begin(this, Begin.stream, 1001, req, req.url as string, peer) === undefined)
      return false;
    if (this.id < 0) return true;
    socket.on('data', (chunk: Buffer) => this.take(chunk));
    socket.on('end', () => {
      if (this.id >= 0) native.pushEnd(this.id);
    });
    if (this.first.length > 0) this.take(this.first);
    return true;
  }

  private take(chunk: Buffer): void {
    if (this.id < 0 || this.door.native.push(this.id, chunk) !== false) return;
    this.paused = true;
    this.socket.pause();
  }

  output(_head: string | undefined, body: string | Buffer | undefined): boolean {
    if (body === undefined || this.socket.write(body, 'latin1')) return true;
    if (!this.waiting) {
      this.waiting = true;
      this.socket.on('drain', () => {
        if (this.id >= 0) this.door.native.writable(this.id);
      });
    }
    return false;
  }

  wantBody(): void {
    if (!this.paused) return;
    this.paused = false;
    this.socket.resume();
  }

  passOn(): void {
    // Upgrades are not passed on.
  }

  ended(): void {
    this.socket.end();
    // A client that does not close its side.
    this.socket.resume();
  }
}
