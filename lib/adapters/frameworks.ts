import type { ExchangeOptions, Next, NodeRequest, NodeResponse } from './node.js';

/** Brings a request in; with `next`, content that no location gives is the next handler's. */
export type Handle = (
  req: NodeRequest,
  res: NodeResponse,
  next?: Next,
  options?: ExchangeOptions,
) => void;

export interface ExpressOptions {
  /** What Lua sees as the URL where the handler has a prefix: the rest of it (default), or the whole. */
  readonly url?: 'stripped' | 'original';
}

/** A middleware of Express, Connect and whatever has their signature. */
export type ExpressHandler = (req: NodeRequest, res: NodeResponse, next: Next) => void;

export function express(handle: Handle, { url = 'stripped' }: ExpressOptions = {}): ExpressHandler {
  if (url === 'stripped') return (req, res, next) => handle(req, res, next);
  return (req, res, next) =>
    handle(req, res, next, { url: (req as { originalUrl?: string }).originalUrl });
}

/** What a middleware of Koa gets, as far as we use it. */
export interface KoaContext {
  readonly req: NodeRequest;
  readonly res: NodeResponse;
  respond?: boolean | undefined;
}
export type KoaMiddleware = (context: KoaContext, next: () => Promise<unknown>) => Promise<void>;

export function koa(handle: Handle): KoaMiddleware {
  return (context, next) =>
    new Promise((resolve, reject) => {
      const { res } = context;
      const onAnswer = (): void => {
        context.respond = false;
        if (res.writableEnded) resolve();
        else (res as NodeJS.EventEmitter).once('close', () => resolve());
      };
      const go = (error?: unknown): void => {
        if (error !== undefined) reject(error as Error);
        else next().then(() => resolve(), reject);
      };
      handle(context.req, res, go, { onAnswer });
    });
}

/** What of Fastify the plugin uses. */
interface FastifyLike {
  addHook(
    name: 'onRequest',
    hook: (request: FastifyRequestLike, reply: FastifyReplyLike, done: Next) => void,
  ): unknown;
  register(
    plugin: (instance: FastifyLike) => Promise<void>,
    options: { readonly prefix: string },
  ): unknown;
  all(
    path: string,
    handler: (request: FastifyRequestLike, reply: FastifyReplyLike) => unknown,
  ): unknown;
  removeAllContentTypeParsers(): void;
  addContentTypeParser(
    type: string,
    parser: (request: never, payload: never, done: (error: null) => void) => void,
  ): unknown;
}
interface FastifyRequestLike {
  readonly raw: NodeRequest;
}
interface FastifyReplyLike {
  readonly raw: NodeResponse;
  hijack(): unknown;
}

export interface FastifyOptions {
  /** Everything below is the gateway's; without, its phases run before every route. */
  readonly prefix?: string;
}

/** A plugin of Fastify: `await fastify.register(gateway.fastify)`. */
export type FastifyPlugin = (instance: object, options: FastifyOptions) => Promise<void>;

export function fastify(handle: Handle): FastifyPlugin {
  const plugin: FastifyPlugin = async (fastify, { prefix }) => {
    const instance = fastify as FastifyLike;
    if (prefix === undefined) {
      instance.addHook('onRequest', (request, reply, done) => {
        handle(request.raw, reply.raw, done, { onAnswer: () => void reply.hijack() });
      });
      return;
    }
    instance.register(
      async (scope) => {
        // The body is the gateway's to read.
        scope.removeAllContentTypeParsers();
        scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
        scope.all('/*', (request, reply) => {
          reply.hijack();
          handle(request.raw, reply.raw);
        });
      },
      { prefix },
    );
  };
  // The hook is for the instance that registers it, not for one below.
  return Object.assign(plugin, {
    [Symbol.for('skip-override')]: true,
    [Symbol.for('fastify.display-name')]: 'moonphase',
  });
}
