// A server of middleware.mjs: node middleware-server.mjs PORT plain|lua
import http from 'node:http';
import { createGateway } from '../dist/index.js';

const [, , port, kind] = process.argv;

const route = (req, res) => {
  res.setHeader('Content-Type', 'text/plain');
  res.end('hello, world\n');
};

let listener = route;
if (kind === 'lua') {
  const gateway = await createGateway({
    locations: [
      {
        path: '/',
        rewriteByLua: 'ngx.ctx.host = ngx.var.http_host',
        accessByLua: 'ngx.ctx.agent = ngx.var.http_user_agent',
        logByLua: 'ngx.ctx.accept = ngx.var.http_accept',
      },
    ],
  });
  listener = (req, res) => gateway.handler(req, res, () => route(req, res));
}
http.createServer(listener).listen(Number(port), '127.0.0.1');
