import type { Door, Exchange } from './door.js';
import type { Req, Res } from './node.js';

/** The client's body on its way into the gateway, from when somebody there wants it. */
export class RequestBody {
  private pumping = false;
  private ended = false;
  private stopped = false;
  private bytes = 0;
  private kept = false;

  /** `framework`: one may get the request later. */
  constructor(
    private readonly door: Door,
    private readonly exchange: Exchange,
    private readonly req: Req,
    res: Res,
    private readonly framework: boolean,
  ) {
    if (res._sent100 === false && /100-continue/i.test(String(req.headers['expect'] ?? ''))) {
      res.writeContinue();
    }
    req.on('readable', this.pump);
    // What Node does not deliver as an end of the answer.
    req.on('error', () => undefined);
  }

  readonly pump = (): void => {
    const { req, door, exchange } = this;
    if (this.pumping || exchange.id < 0 || this.ended || this.stopped) return;
    this.pumping = true;
    let more = true;
    while (more && exchange.id >= 0) {
      const chunk = req.read() as Buffer | null;
      if (chunk === null) break;
      this.bytes += chunk.length;
      this.keepOpen();
      more = door.native.push(exchange.id, chunk) !== false;
    }
    this.pumping = false;
    if (req._readableState?.ended === true && this.left() === 0) this.end();
  };

  /** Bytes that nobody has read; the one that keeps the stream open does not count. */
  private left(): number {
    return this.req.readableLength - (this.kept ? 1 : 0);
  }

  /**
   * Where a framework may get the request later its stream must not end meanwhile: one byte stays in it until the body
   * is put back.
   */
  private keepOpen(): void {
    const { req } = this;
    if (!this.framework || this.kept) return;
    if (req._readableState?.ended !== true || req.readableLength > 0) return;
    this.kept = true;
    req.unshift(Buffer.alloc(1));
  }

  private end(): void {
    const { id } = this.exchange;
    if (this.ended || id < 0) return;
    if (this.bytes > 0) this.keepOpen();
    this.ended = true;
    this.req.removeListener('readable', this.pump);
    this.door.native.pushEnd(id);
  }

  /** The request has been passed on. */
  stop(): void {
    this.stopped = true;
  }

  /** Whoever it was passed on to finds this in it. */
  putBack(body: Buffer | undefined): void {
    const { req } = this;
    req.removeListener('readable', this.pump);
    if (this.kept) req.read(1);
    if (body !== undefined && body.length > 0) req.unshift(body);
    this.kept = false;
  }
}
