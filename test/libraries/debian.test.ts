// The lua-resty-* libraries that Debian packages (as nginx.*), unmodified, against real servers: connect, the main
// operation, an error, keep-alive. Their own suites are run from checkouts outside the repository.
import dgram from 'node:dgram';
import fs from 'node:fs';
import t, { type Test } from 'tap';
import { request } from '../helpers/http.js';
import { Server } from '../helpers/server.js';
import { startMemcached, startRedis } from '../helpers/services.js';

const skip =
  !fs.existsSync('/usr/share/lua/5.1/nginx/websocket/client.lua') &&
  "Debian's lua-nginx-* are not installed";

/** Runs `lua` as a content handler at /t; its lines must be `expected`. */
async function answers(
  t: Test,
  lua: string,
  expected: readonly string[],
  locations = '',
): Promise<void> {
  const server = await Server.start({
    http: `
      lua_package_path "/usr/share/lua/5.1/?.lua;;";
      server {
        listen 127.0.0.1:$port;
        location = /t { lua_socket_log_errors off; content_by_lua_block { ${lua} } }
        ${locations}
      }`,
  });
  t.teardown(() => server.stop());
  // The second time from the pool.
  for (let i = 0; i < 2; ++i) {
    const answer = await request(server.port, '/t');
    t.same(answer.body.trim().split('\n'), expected, `request ${i + 1}`);
  }
  t.notMatch(server.errorLog(), /\[(alert|crit)\]/);
}

t.test('redis', { skip }, async (t) => {
  const redis = await startRedis();
  t.teardown(() => redis.stop());
  await answers(
    t,
    `local redis = require "nginx.redis"
    local red = redis:new()
    red:set_timeout(2000)
    assert(red:connect("127.0.0.1", ${redis.port}))
    ngx.say(red:set("dog", "an animal"), " ", red:get("dog"), " ", red:get("cat") == ngx.null)
    ngx.say(red:incr("dog"))
    red:init_pipeline()
    for i = 1, 1000 do red:set("key" .. i, string.rep("v", i)) end
    for i = 1, 1000 do red:get("key" .. i) end
    local all = assert(red:commit_pipeline())
    ngx.say(#all, " ", #all[2000])
    ngx.say(red:set_keepalive(10000, 10))
    assert(red:connect("127.0.0.1", ${redis.port}))
    ngx.say(red:get_reused_times() > 0, " ", red:get("key3"), " ", red:set_keepalive(10000, 10))
    ngx.say(redis:new():connect("127.0.0.1", 1))`,
    [
      'OK an animal true',
      'falseERR value is not an integer or out of range',
      '2000 1000',
      '1',
      'true vvv 1',
      'nilconnection refused',
    ],
  );
});

t.test('redis: publish and subscribe over two connections', { skip }, async (t) => {
  const redis = await startRedis();
  t.teardown(() => redis.stop());
  await answers(
    t,
    `local redis = require "nginx.redis"
    local function connect()
      local red = redis:new()
      red:set_timeout(2000)
      assert(red:connect("127.0.0.1", ${redis.port}))
      return red
    end
    local one, two = connect(), connect()
    ngx.say(one:subscribe("news")[1])
    ngx.say(two:publish("news", "hello"))
    ngx.say(one:read_reply()[3])
    one:set_timeout(30)
    ngx.say(one:read_reply())
    one:close() two:close()`,
    ['subscribe', '1', 'hello', 'niltimeout'],
  );
});

t.test('memcached', { skip }, async (t) => {
  const memcached = await startMemcached();
  t.teardown(() => memcached.stop());
  await answers(
    t,
    `local memc = assert(require("nginx.memcached"):new())
    memc:set_timeout(2000)
    assert(memc:connect("127.0.0.1", ${memcached.port}))
    memc:flush_all()
    local big = string.rep("x", 500000)
    ngx.say(memc:set("dog", "32"), " ", (memc:get("dog")))
    ngx.say(memc:get("cat"))
    ngx.say(memc:incr("dog", 2))
    ngx.say(memc:set("big", big), " ", memc:get("big") == big)
    ngx.say(memc:add("dog", 1))
    ngx.say(memc:set_keepalive(10000, 10))`,
    ['1 32', 'nilnilnil', '34', '1 true', 'nilNOT_STORED', '1'],
  );
});

t.test('dns', { skip }, async (t) => {
  const nameserver = dgram.createSocket('udp4');
  nameserver.on('message', (query, from) => {
    const end = query.indexOf(0, 12) + 5;
    const known = query.includes('known');
    const answer = Buffer.concat([
      query.subarray(0, 2),
      Buffer.from(known ? '81800001000100000000' : '81830001000000000000', 'hex'),
      query.subarray(12, end),
      Buffer.from(known ? 'c00c000100010000003c00040a000001' : '', 'hex'),
    ]);
    nameserver.send(answer, from.port, from.address);
  });
  await new Promise<void>((done) => nameserver.bind(0, '127.0.0.1', done));
  t.teardown(() => nameserver.close());
  const { port } = nameserver.address();
  await answers(
    t,
    `local resolver = require "nginx.dns.resolver"
    local r = assert(resolver:new { nameservers = { { "127.0.0.1", ${port} } }, retrans = 1, timeout = 2000 })
    local got = assert(r:query("known.test"))
    ngx.say(got[1].address, " ", got[1].ttl)
    ngx.say(r:query("other.test").errstr)
    local deaf = assert(resolver:new { nameservers = { { "127.0.0.1", 1 } }, retrans = 1, timeout = 100 })
    ngx.say((select(2, deaf:query("known.test")):match("connection refused")))`,
    ['10.0.0.1 60', 'name error', 'connection refused'],
  );
});

t.test('websocket: client and server', { skip }, async (t) => {
  await answers(
    t,
    `local wb = assert(require("nginx.websocket.client"):new { timeout = 2000, max_payload_len = 1000000 })
    assert(wb:connect("ws://127.0.0.1:$port/echo"))
    local function ask(text)
      assert(wb:send_text(text))
      return wb:recv_frame()
    end
    local long = string.rep("m", 300000)
    ngx.say((ask("hello")), " ", ask(long) == long)
    wb:send_ping("you?")
    ngx.say((select(2, wb:recv_frame())))
    wb:send_binary(string.char(0, 255))
    ngx.say(#wb:recv_frame())
    wb:set_timeout(30)
    ngx.say(wb:recv_frame())
    ngx.say(wb:close())`,
    ['hello true', 'pong', '2', 'nilnilfailed to receive the first 2 bytes: timeout', '1'],
    `location = /echo {
      lua_socket_log_errors off;
      content_by_lua_block {
        local wb = assert(require("nginx.websocket.server"):new { timeout = 2000, max_payload_len = 1000000 })
        while true do
          local data, kind = wb:recv_frame()
          if not data or kind == "close" then return wb:send_close() end
          if kind == "ping" then wb:send_pong(data)
          elseif kind == "text" then wb:send_text(data)
          else wb:send_binary(data) end
        end
      }
    }`,
  );
});

t.test('string: digests and ciphers of the node binary', { skip }, async (t) => {
  await answers(
    t,
    `local to_hex = require("nginx.string").to_hex
    for _, name in ipairs { "md5", "sha1", "sha256", "sha512" } do
      local digest = require("nginx." .. name):new()
      digest:update("hel") digest:update("lo")
      ngx.say(to_hex(digest:final()):sub(1, 16))
    end
    local aes = require "nginx.aes"
    local cipher = assert(aes:new("a secret"))
    ngx.say(cipher:decrypt(cipher:encrypt("plain")))
    ngx.say(#require("nginx.random").bytes(16))`,
    ['5d41402abc4b2a76', 'aaf4c61ddcc5e8a2', '2cf24dba5fb0a30e', '9b71d224bd62f378', 'plain', '16'],
  );
});

t.test('lrucache', async (t) => {
  await answers(
    t,
    `local cache = require("resty.lrucache").new(2)
    cache:set("a", 1) cache:set("b", 2, 0.01) cache:set("c", 3)
    ngx.sleep(0.02)
    local stale = select(2, cache:get("b"))
    ngx.say(cache:get("a"), " ", cache:get("c"), " ", stale)`,
    ['nil 3 2'],
  );
});
