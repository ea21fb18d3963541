// The servers that the suite runs on, each with the gateway in front of routes of its own.
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import express from 'express';
import fastify from 'fastify';
import Koa from 'koa';
import type { Gateway } from '../../lib/index.js';
import { describe, makeCertificate, plainRoutes, writeMuch, writeSlowly } from './application.js';

export interface Running {
  readonly port: number;
  readonly protocol: 'http' | 'https' | 'http2';
  readonly cert?: string;
  stop(): Promise<void>;
}
export type Start = (gateway: Gateway, dir: string) => Promise<Running>;

async function serve(
  server: Server,
  protocol: Running['protocol'],
  gateway: Gateway,
  cert?: string,
): Promise<Running> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  if (protocol !== 'http2') server.on('upgrade', gateway.upgrade);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    port: (server.address() as AddressInfo).port,
    protocol,
    ...(cert === undefined ? {} : { cert }),
    stop: () =>
      new Promise((done) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => done());
      }),
  };
}

export const servers: Record<string, Start> = {
  http: async (gateway) =>
    serve(
      http.createServer((req, res) => gateway.handler(req, res, () => plainRoutes(req, res))),
      'http',
      gateway,
    ),

  https: async (gateway, dir) => {
    const pair = makeCertificate(dir);
    const server = https.createServer(pair, (req, res) =>
      gateway.handler(req, res, () => plainRoutes(req, res)),
    );
    return serve(server, 'https', gateway, pair.cert);
  },

  http2: async (gateway, dir) => {
    const pair = makeCertificate(dir);
    const server = http2.createSecureServer(pair, (req, res) =>
      gateway.handler(req, res, () => plainRoutes(req, res)),
    );
    return serve(server, 'http2', gateway, pair.cert);
  },

  express: async (gateway) => {
    const app = express();
    app.use(gateway.express());
    app.get('/route/slow', (_req, res) => void writeSlowly(res));
    app.get('/route/much', (_req, res) => void writeMuch(res, 200));
    app.get('/route/never', () => undefined);
    app.use(async (req, res) => {
      const text = await describe(req, req);
      res.set('X-Route', 'yes').type('json').send(text);
    });
    return serve(http.createServer(app), 'http', gateway);
  },

  fastify: async (gateway) => {
    const app = fastify();
    await app.register(gateway.fastify);
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', (_request, _payload, done) => done(null));
    app.get('/route/slow', (_request, reply) => {
      reply.hijack();
      void writeSlowly(reply.raw);
    });
    app.get('/route/much', (_request, reply) => {
      reply.hijack();
      void writeMuch(reply.raw, 200);
    });
    app.get('/route/never', (_request, reply) => void reply.hijack());
    app.all('/*', async (request, reply) => {
      const text = await describe(request.raw, request.raw);
      return reply.header('X-Route', 'yes').type('application/json').send(text);
    });
    await app.ready();
    const running = await serve(app.server, 'http', gateway);
    return {
      ...running,
      stop: async () => {
        await running.stop();
        await app.close();
      },
    };
  },

  koa: async (gateway) => {
    const app = new Koa();
    app.silent = true;
    app.use(gateway.koa());
    app.use(async (context: Koa.Context) => {
      const req = context.req as IncomingMessage;
      const res = context.res as ServerResponse;
      if (context.path === '/route/slow' || context.path === '/route/much') {
        context.respond = false;
        void (context.path === '/route/slow' ? writeSlowly(res) : writeMuch(res, 200));
      } else if (context.path === '/route/never') {
        context.respond = false;
      } else {
        const text = await describe(req, req);
        context.set('X-Route', 'yes');
        context.type = 'json';
        context.body = text;
      }
    });
    return serve(http.createServer(app.callback()), 'http', gateway);
  },
};
