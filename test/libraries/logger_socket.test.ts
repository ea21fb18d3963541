// lua-resty-logger-socket: lines of log_by_lua to a TCP, TLS, unix or UDP listener; one that is away for a while.
import dgram from 'node:dgram';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import tls from 'node:tls';
import t, { type Test } from 'tap';
import { request } from '../helpers/http.js';
import { freePorts, sleep } from '../helpers/server.js';
import { answers, lacks, luaPath, serverTls } from './library.js';

const skip = lacks('lua-resty-logger-socket');

/** A server that logs each request of /log by a logger with such options. */
const logging = (t: Test, options: string) =>
  answers(t, {
    path: luaPath('lua-resty-logger-socket'),
    times: 1,
    lua: 'ngx.say("up")',
    expected: ['up'],
    http: 'lua_ssl_trusted_certificate $prefix/tls/ca.crt;',
    locations: `location = /log {
      lua_socket_log_errors off;
      content_by_lua_block { ngx.say("logged") }
      log_by_lua_block {
        local logger = require "resty.logger.socket"
        if not logger.initted() then assert(logger.init { flush_limit = 60, ${options} }) end
        local bytes, err = logger.log("request " .. ngx.var.arg_n .. "\\n")
        if err then ngx.log(ngx.WARN, "logger: ", err) end
      }
    }`,
  });

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !what(); ++i) await sleep(20);
}

const all = Array.from({ length: 60 }, (_, n) => `request ${n}`);
const lines = (text: string) => text.trim().split('\n').sort();
const sorted = [...all].sort();

for (const kind of ['tcp', 'tls', 'unix'])
  t.test(`to ${kind}`, { skip }, async (t) => {
    let heard = '';
    let connections = 0;
    const serve = (socket: net.Socket) => {
      ++connections;
      socket.on('data', (data) => (heard += data.toString())).on('error', () => {});
    };
    const server = kind === 'tls' ? tls.createServer(serverTls, serve) : net.createServer(serve);
    const file = `${fs.mkdtempSync(`${os.tmpdir()}/mp-log-`)}/sock`;
    await new Promise<void>((done) =>
      kind === 'unix' ? server.listen(file, done) : server.listen(0, '127.0.0.1', done),
    );
    t.teardown(() => server.close());
    const address = server.address();
    const where =
      typeof address === 'string'
        ? `path = "${address}"`
        : `host = "127.0.0.1", port = ${address?.port}, ssl = ${kind === 'tls'}, sni_host = "test.com"`;
    const gateway = await logging(t, `${where}, periodic_flush = 0.05`);
    for (let n = 0; n < all.length; ++n) await request(gateway.port, `/log?n=${n}`);
    await until(() => lines(heard).length >= all.length);
    t.same(lines(heard), sorted);
    t.equal(connections, 1, 'kept');
    t.notMatch(gateway.errorLog(), /\[(warn|error|alert|crit|emerg)\]/);
  });

t.test('to udp', { skip }, async (t) => {
  let heard = '';
  const socket = dgram.createSocket('udp4');
  socket.on('message', (data) => (heard += data.toString()));
  await new Promise<void>((done) => socket.bind(0, '127.0.0.1', done));
  t.teardown(() => socket.close());
  const where = `host = "127.0.0.1", port = ${socket.address().port}, sock_type = "udp"`;
  const gateway = await logging(t, `${where}, periodic_flush = 0.05`);
  for (let n = 0; n < all.length; ++n) await request(gateway.port, `/log?n=${n}`);
  await until(() => lines(heard).length >= all.length);
  t.same(lines(heard), sorted);
});

t.test('a listener that comes later', { skip }, async (t) => {
  const [port] = (await freePorts(1)) as [number];
  const gateway = await logging(
    t,
    `host = "127.0.0.1", port = ${port}, max_retry_times = 100, retry_interval = 20, periodic_flush = 0.05`,
  );
  for (let n = 0; n < all.length; ++n) await request(gateway.port, `/log?n=${n}`);
  let heard = '';
  const server = net.createServer((socket) => {
    socket.on('data', (data) => (heard += data.toString())).on('error', () => {});
  });
  await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
  t.teardown(() => server.close());
  await until(() => lines(heard).length >= all.length);
  t.same(lines(heard), sorted, 'nothing is lost');
});
