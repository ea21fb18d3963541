import type { Duplex } from 'node:stream';
import type { IncomingMessage } from 'node:http';
import { MoonphaseError } from '../errors.js';
import type { Door } from './door.js';
import { FetchExchange } from './fetch.js';
import { NodeExchange, type ExchangeOptions, type Next, type Req, type Res } from './node.js';
import type { NodeRequest, NodeResponse } from './node.js';
import { UpgradeExchange } from './upgrade.js';

/** A gateway's door: there at once, or soon, or it rejects. */
export type OpenDoor = () => Door | Promise<Door>;

function ended(): MoonphaseError {
  return new MoonphaseError('ERR_MOONPHASE_CLOSED', 'the gateway has ended');
}

/** A request of a server of Node's. */
export function handle(
  open: OpenDoor,
  req: NodeRequest,
  res: NodeResponse,
  next?: Next,
  options?: ExchangeOptions,
): void {
  let door: Door | Promise<Door>;
  try {
    door = open();
  } catch (error) {
    return fail(res, next, options, error);
  }
  if (door instanceof Promise) {
    door.then(
      (ready) => enter(ready, req, res, next, options),
      (error: unknown) => fail(res, next, options, error),
    );
  } else {
    enter(door, req, res, next, options);
  }
}

function enter(
  door: Door,
  req: NodeRequest,
  res: NodeResponse,
  next: Next | undefined,
  options: ExchangeOptions | undefined,
): void {
  const exchange = new NodeExchange(
    door,
    req as unknown as Req,
    res as unknown as Res,
    next,
    options,
  );
  if (!exchange.begin()) fail(res, next, options, ended());
}

function fail(
  res: NodeResponse,
  next: Next | undefined,
  options: ExchangeOptions | undefined,
  error: unknown,
): void {
  if (next !== undefined) return next(error);
  options?.onAnswer?.();
  refuse(res as unknown as Res);
}

function refuse(res: Res): void {
  if (res.headersSent) return void res.destroy();
  res.statusCode = 503;
  res.setHeader('Content-Type', 'text/plain');
  res.end('the gateway does not run\n');
}

/** What `server.on('upgrade', …)` gets. */
export function upgrade(
  open: OpenDoor,
  req: IncomingMessage,
  socket: Duplex,
  head: Uint8Array,
): void {
  const run = (door: Door): void => {
    const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
    if (!new UpgradeExchange(door, req as unknown as Req, socket, bytes).begin()) fail();
  };
  const fail = (): void => {
    socket.end(
      'HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
    );
  };
  void Promise.resolve().then(open).then(run, fail);
}

/** A `Request` to its `Response`. */
export async function fetchFrom(open: OpenDoor, request: Request): Promise<Response> {
  const exchange = new FetchExchange(await open(), request);
  if (!exchange.begin()) throw ended();
  return exchange.response;
}
