// The core of Moonphase in short, for a Node and a machine other than the developer's:
//   NODE test/package/core.mjs PACKAGE [--json]
// PACKAGE is the directory of an installed moonphase. Plain JavaScript without a test runner, since it runs under every
// Node that is supported, and under qemu. Prints a line per check; the last line is `N passed, N failed, N skipped`.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { MessageChannel, Worker, isMainThread, workerData } from 'node:worker_threads';

const place = path.resolve(isMainThread ? process.argv[2] : workerData.place);
const { createGateway, LuaVM, MoonphaseError } = await import(
  pathToFileURL(path.join(place, 'dist/index.js')).href
);

async function main() {
  let passed = 0;
  let failed = 0;
  const only = process.argv[3];
  for (const [name, check] of Object.entries({ ...library, ...(await server()) })) {
    if (only && !name.includes(only)) continue;
    const started = Date.now();
    try {
      await check();
      ++passed;
      console.log(`ok   ${name} (${Date.now() - started} ms)`);
    } catch (error) {
      ++failed;
      console.log(`FAIL ${name}\n${error.stack}`);
    }
  }
  await stop();
  console.log(`${passed} passed, ${failed} failed, 0 skipped`);
  process.exitCode = failed || !passed ? 1 : 0;
}

const lua = (code, options) => {
  const vm = new LuaVM(options);
  try {
    const result = vm.eval(code, { all: true });
    assert.ok(!(result instanceof Promise), 'waits');
    return result;
  } finally {
    vm.close();
  }
};

/** Lua as a library. */
const library = {
  'VM: values, closures, metatables'() {
    const code = `
      local t = setmetatable({}, { __index = function(_, k) return k .. "!" end })
      local function counter() local n = 0 return function() n = n + 1 return n end end
      local c = counter() c()
      return 1 + 1, "a" .. 1, t.x, c(), 2^53, -7 % 3, ("x"):rep(3)`;
    assert.deepEqual(lua(code), [2, 'a1', 'x!', 2, 2 ** 53, 2, 'xxx']);
  },
  'VM: numbers and their functions'() {
    const code = `return math.exp(1), math.log(10), math.pow(2, 0.5), 2 ^ 0.5, math.sin(1), math.fmod(7, 3)`;
    const wanted = [Math.E, Math.LN10, Math.SQRT2, Math.SQRT2, Math.sin(1), 1];
    for (const [i, value] of lua(code).entries()) assert.ok(Math.abs(value - wanted[i]) < 1e-12);
  },
  'C parts of lua-resty-signal and lua-resty-balancer'() {
    const code = `
      local ffi = require "ffi"
      ffi.cdef "int resty_signal_signum(int); void chash_point_init(void *, uint32_t, uint32_t, uint32_t, uint32_t);"
      local function find(name)
        for path in package.cpath:gmatch("[^;]+") do
          local file = path:match("^(.*/)") .. name
          local f = io.open(file)
          if f then f:close() return ffi.load(file) end
        end
        error(name .. " is not along " .. package.cpath)
      end
      return find("librestysignal.so").resty_signal_signum(2), find("librestychash.so").chash_point_init ~= nil`;
    assert.deepEqual(lua(code), [2, true]);
  },
  'VM: errors, pcall, tracebacks'() {
    assert.deepEqual(lua(`return pcall(error, { code = 7 })`)[0], false);
    const vm = new LuaVM();
    assert.throws(() => vm.eval('error("no")', { name: '=chunk' }), /chunk:1: no/);
    assert.throws(() => vm.eval('return return'), MoonphaseError);
    assert.throws(() => vm.eval('local function f() return f() + 1 end f()'), /stack overflow/);
    vm.close();
  },
  'VM: coroutines, also over pcall and iterators'() {
    const code = `
      local co = coroutine.wrap(function(a)
        local ok, b = pcall(function() return coroutine.yield(a + 1) end)
        for x in coroutine.wrap(function() coroutine.yield(5) end) do b = b + x end
        return b
      end)
      return co(1), co(10)`;
    assert.deepEqual(lua(code), [2, 15]);
  },
  'VM: garbage is collected'() {
    const code = `
      collectgarbage() local before = collectgarbage("count")
      for i = 1, 20000 do local t = { i, tostring(i) } end
      collectgarbage() collectgarbage()
      return collectgarbage("count") - before < 500`;
    assert.deepEqual(lua(code), [true]);
  },
  'VM: OpenResty extensions of LuaJIT'() {
    const code = `
      local t = require("table.new")(4, 0) t[1] = 5
      local c = require("table.clone")(t) c[1] = 6
      return t[1], c[1], require("table.isarray")(t), require("table.isempty")({}), jit.version:match("^LuaJIT 2%.1")`;
    assert.deepEqual(lua(code), [5, 6, true, true, 'LuaJIT 2.1']);
  },
  'JIT: a loop becomes machine code'() {
    const code = `
      local util = require "jit.util"
      local stopped = {}
      jit.attach(function(what, tr) if what == "stop" then stopped[#stopped + 1] = tr end end, "trace")
      local sum, text = 0, {}
      for i = 1, 20000 do sum = sum + i % 7 end
      jit.attach(function() end)
      local info = util.traceinfo(stopped[1])
      local mcode = util.tracemc(stopped[1])
      return jit.status(), jit.arch, info.linktype, #mcode > 40, sum`;
    assert.deepEqual(lua(code), [true, process.arch, 'loop', true, 59998]);
  },
  'JIT: calls through FFI are compiled'() {
    const code = `
      local ffi = require "ffi"
      ffi.cdef "int abs(int); double floor(double); size_t strlen(const char *);"
      local stopped, aborted = 0, 0
      jit.attach(function(what) if what == "stop" then stopped = stopped + 1 elseif what == "abort" then aborted = aborted + 1 end end, "trace")
      local n = 0
      for i = 1, 5000 do n = n + ffi.C.abs(-i) + tonumber(ffi.C.strlen("abc")) + ffi.C.floor(0.5) end
      return stopped > 0, aborted, n`;
    assert.deepEqual(lua(code), [true, 0, 12502500 + 15000]);
  },
  'FFI: structures, callbacks, 64 bits, variadic calls'() {
    const code = `
      local ffi = require "ffi"
      ffi.cdef [[
        typedef struct { uint8_t a; double b; int64_t c[3]; } core_t;
        void qsort(void *, size_t, size_t, int (*)(const int *, const int *));
        int snprintf(char *, size_t, const char *, ...);
      ]]
      local s = ffi.new("core_t", 200, 1.5, { 1, 2, -3 })
      local list = ffi.new("int[5]", 5, 3, 1, 4, 2)
      local compare = ffi.cast("int (*)(const int *, const int *)", function(a, b) return a[0] - b[0] end)
      ffi.C.qsort(list, 5, 4, compare)
      compare:free()
      local text = ffi.new("char[64]")
      ffi.C.snprintf(text, 64, "%d %.2f %s", ffi.cast("int", 7), 2.5, "x")
      return s.a, s.b, tonumber(s.c[2]), list[0], list[4], ffi.string(text), tostring(2LL ^ 40), ffi.sizeof("core_t")`;
    assert.deepEqual(lua(code), [200, 1.5, -3, 1, 5, '7 2.50 x', '1099511627776LL', 40]);
  },
  'FFI: what the addon exports, and what Node does'() {
    const code = `
      local ffi = require "ffi"
      ffi.cdef "unsigned char *ngx_hex_dump(unsigned char *, const unsigned char *, size_t); const char *OpenSSL_version(int);"
      local out = ffi.new("unsigned char[8]")
      ffi.C.ngx_hex_dump(out, "\\1\\254", 2)
      return ffi.string(out, 4), ffi.string(ffi.C.OpenSSL_version(0)):match("^OpenSSL")`;
    assert.deepEqual(lua(code), ['01fe', 'OpenSSL']);
  },
  'ngx: encodings, digests, time'() {
    const code = `return ngx.md5("x"), ngx.encode_base64("hi"), ngx.unescape_uri("%41+b"), ngx.crc32_long("x"),
      #ngx.http_time(0), ngx.sha1_bin and #ngx.sha1_bin("x")`;
    assert.deepEqual(lua(code), [
      '9dd4e461268c8034f5c8564e155c67a6',
      'aGk=',
      'A b',
      2363233923,
      29,
      20,
    ]);
  },
  'ngx.re: PCRE2 with its JIT'() {
    const code = `
      local m = ngx.re.match("id=4711;", [[id=(?<n>\\d+)]], "jo")
      local s, n = ngx.re.gsub("a1b22", "[0-9]+", function(m) return "<" .. m[0] .. ">" end, "jo")
      return m.n, s, n, (ngx.re.find("ÄÖ", "Ö", "u")), pcall(ngx.re.match, "x", "(") and "error text"`;
    assert.deepEqual(lua(code), ['4711', 'a<1>b<22>', 2, 3, 'error text']);
  },
  cjson() {
    const code = `
      local cjson = require "cjson"
      local t = cjson.decode('{"a":[1,2.5,"x"],"b":null,"c":{"d":true}}')
      return t.a[2], t.b == cjson.null, t.c.d, cjson.encode({ 1, "z", { k = false } })`;
    assert.deepEqual(lua(code), [2.5, true, true, '[1,"z",{"k":false}]']);
  },
  'LuaVM: calls both ways, promises both ways'() {
    return (async () => {
      const vm = new LuaVM({ globals: { later: async (n) => n * 2, now: (s) => `${s}?` } });
      assert.equal(vm.eval('return now("a")'), 'a?');
      const fn = vm.eval('return function(n) ngx.sleep(0.01) return later(n) + 1 end');
      const [a, b] = await Promise.all([fn(10), fn(20)]);
      assert.deepEqual([a, b], [21, 41]);
      await assert.rejects(vm.eval('ngx.sleep(0) error("late")'), /late/);
      vm.close();
    })();
  },
  'LuaVM: in a worker thread'() {
    return new Promise((resolve, reject) => {
      const { port1, port2 } = new MessageChannel();
      const worker = new Worker(new URL(import.meta.url), {
        workerData: { place, port: port2 },
        transferList: [port2],
      });
      // Either may come first.
      const exited = new Promise((done) => worker.once('exit', done));
      worker.once('error', reject);
      port1.once('message', (value) => {
        port1.close();
        exited.then(() => (value === 21 ? resolve() : reject(new Error(`got ${value}`))));
      });
    });
  },
};

let dir;
let gateway;

async function stop() {
  await gateway?.stop({ timeout: 0 });
  fs.rmSync(dir, { recursive: true, force: true });
}

const freePort = () =>
  new Promise((resolve) => {
    const probe = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });

/** What the parts of a server must do, in one gateway. */
async function server() {
  const [port, tlsPort] = [await freePort(), await freePort()];
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'moonphase-core-'));
  fs.mkdirSync(path.join(dir, 'conf'));
  fs.mkdirSync(path.join(dir, 'logs'));
  fs.writeFileSync(path.join(dir, 'file.txt'), 'a file\n');
  fs.writeFileSync(path.join(dir, 'answer.lua'), 'return { get = function(n) return n + 1 end }');
  const { cert, key } = certificate();
  fs.writeFileSync(path.join(dir, 'conf/cert.pem'), cert);
  fs.writeFileSync(path.join(dir, 'conf/key.pem'), key);
  fs.writeFileSync(path.join(dir, 'conf/nginx.conf'), configuration(port, tlsPort));
  gateway = await createGateway({ prefix: dir, config: 'conf/nginx.conf' });
  await gateway.start();
  const get = async (at, options) => {
    const response = await fetch(`http://127.0.0.1:${port}${at}`, options);
    return [response.status, await response.text(), response.headers];
  };
  const says = async (at, wanted, options) => {
    const [status, text] = await get(at, options);
    assert.deepEqual([status, text], [200, wanted]);
  };
  return {
    'server: hello': () => says('/hello', 'Hello from Lua\n'),
    'server: a file, a missing one, a condition': async () => {
      await says('/file.txt', 'a file\n');
      assert.equal((await get('/none'))[0], 404);
      const [, , headers] = await get('/file.txt');
      const etag = headers.get('etag');
      assert.equal((await get('/file.txt', { headers: { 'if-none-match': etag } }))[0], 304);
    },
    'server: a body, arguments, headers': async () => {
      const [status, text, headers] = await get('/echo?a=1&b', {
        method: 'POST',
        body: 'x'.repeat(20000),
      });
      assert.deepEqual([status, text, headers.get('x-method')], [200, '20000 1 true', 'POST']);
    },
    'server: phases in their order': () => says('/phases', 'rewrite access content\n'),
    'server: subrequests': () => says('/capture', '200 Hello from Lua\n200 a file\n'),
    'server: gzip by zlib of Node': async () => {
      const [status, text, headers] = await get('/long', {
        headers: { 'accept-encoding': 'gzip' },
      });
      assert.deepEqual([status, text.length, headers.get('content-encoding')], [200, 5000, 'gzip']);
    },
    'server: proxy_pass': () => says('/proxy/hello', 'Hello from Lua\n'),
    'server: light threads, semaphores, timers': async () => {
      await says('/threads', 'b a posted\n');
      await says('/timer', 'fired\n');
    },
    'server: 300 requests by 20 clients': async () => {
      const all = Array.from({ length: 20 }, async () => {
        for (let i = 0; i < 15; ++i) await says('/hello', 'Hello from Lua\n');
      });
      await Promise.all(all);
    },
    'server: pipelined requests and a client that goes': async () => {
      const socket = net.connect(port, '127.0.0.1');
      socket.write('GET /hello HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(8));
      let text = '';
      await new Promise((resolve) => {
        socket.on('data', (data) => {
          text += data;
          if (text.split('Hello from Lua').length === 9) resolve();
        });
      });
      socket.write('GET /sleep HTTP/1.1\r\nHost: x\r\n\r\n');
      socket.destroy();
      await says('/hello', 'Hello from Lua\n');
    },
    'server: an error of Lua is a 500, and logged': async () => {
      assert.equal((await get('/error'))[0], 500);
      const log = fs.readFileSync(path.join(dir, 'logs/error.log'), 'utf8');
      assert.match(log, /runtime error: .*on purpose/);
    },
    'cosockets: TCP, keepalive, receiveuntil': () => says('/tcp', '200 OK Hello 1\n'),
    'cosockets: UDP': () => says('/udp', 'sent\n'),
    'cosockets: timeouts': () => says('/timeout', 'nil timeout\n'),
    'TLS: OpenSSL of Node on both sides': () => says('/tls', 'secure TLSv1.3\n'),
    'shared dictionaries: Lua and JavaScript': async () => {
      await says('/dict', '1 3 exists nil\n');
      const dict = gateway.shared.core;
      assert.equal(dict.incr('n', 4), 7);
      assert.equal(dict.cas('n', 7, 'seven'), true);
      await says('/dict/get', 'seven\n');
      assert.ok(dict.freeSpace > 0);
    },
    'shared dictionaries: eviction': () => says('/dict/full', 'evicted true\n'),
    'lua-resty-core and lrucache': () => says('/resty', 'true 5 table\n'),
    'ngx.pipe starts a program': () => says('/pipe', 'from a program\n'),
    'ngx.run_worker_thread': () => says('/worker-thread', 'true 42\n'),
    'a reload': async () => {
      fs.writeFileSync(
        path.join(dir, 'conf/nginx.conf'),
        configuration(port, tlsPort).replace('Hello from Lua', 'Again'),
      );
      await gateway.reload();
      await says('/hello', 'Again\n');
      await says('/dict/get', 'seven\n');
    },
    'the VM of the gateway, called by JavaScript': () => {
      assert.equal(gateway.lua.eval('return ngx.config.subsystem'), 'http');
    },
  };
}

function configuration(port, tlsPort) {
  return `
daemon off;
error_log logs/error.log;
thread_pool core threads=1;
events {}
http {
  access_log off;
  lua_shared_dict core 1m;
  lua_shared_dict small 32k;
  lua_package_path "$prefix/?.lua;;";
  server {
    listen 127.0.0.1:${port};
    root ${dir};
    location = /hello { content_by_lua_block { ngx.say("Hello from Lua") } }
    location = /echo { content_by_lua_block {
      ngx.req.read_body()
      ngx.header["X-Method"] = ngx.req.get_method()
      local args = ngx.req.get_uri_args()
      ngx.print(#ngx.req.get_body_data(), " ", args.a, " ", args.b) } client_body_buffer_size 64k; }
    location = /phases {
      rewrite_by_lua_block { ngx.ctx.list = { "rewrite" } }
      access_by_lua_block { table.insert(ngx.ctx.list, "access") }
      content_by_lua_block { ngx.say(table.concat(ngx.ctx.list, " "), " content") }
    }
    location = /capture { content_by_lua_block {
      local a, b = ngx.location.capture_multi({ { "/hello" }, { "/file.txt" } })
      ngx.print(a.status, " ", a.body, b.status, " ", b.body) } }
    location = /long { gzip on; gzip_min_length 1; gzip_types *; content_by_lua_block { ngx.print(("x"):rep(5000)) } }
    location /proxy/ { proxy_pass http://127.0.0.1:${port}/; }
    location = /sleep { content_by_lua_block { ngx.sleep(5) } }
    location = /error { content_by_lua_block { error("on purpose") } }
    location = /threads { content_by_lua_block {
      local list = {}
      local sema = require("ngx.semaphore").new()
      local function run(name, time) ngx.sleep(time) list[#list + 1] = name end
      local a, b = ngx.thread.spawn(run, "a", 0.05), ngx.thread.spawn(run, "b", 0.01)
      local c = ngx.thread.spawn(function() sema:wait(1) list[#list + 1] = "posted" end)
      ngx.thread.wait(a) ngx.thread.wait(b) sema:post() ngx.thread.wait(c)
      ngx.say(table.concat(list, " ")) } }
    location = /timer { content_by_lua_block {
      local sema = require("ngx.semaphore").new()
      ngx.timer.at(0.01, function() sema:post() end)
      ngx.say(sema:wait(2) and "fired" or "no") } }
    location = /tcp { content_by_lua_block {
      local sock = ngx.socket.tcp()
      assert(sock:connect("127.0.0.1", ${port}))
      local used = sock:getreusedtimes()
      assert(sock:send("GET /hello HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"))
      local status = sock:receive():sub(10)
      local head = assert(sock:receiveuntil("\\r\\n\\r\\n")())
      sock:receive() local word = sock:receive(5) sock:receive("*l") sock:receive() sock:receive() sock:receive()
      assert(sock:setkeepalive(1000, 2))
      local again = ngx.socket.tcp()
      assert(again:connect("127.0.0.1", ${port}))
      ngx.say(status, " ", word, " ", again:getreusedtimes()) again:close() } }
    location = /udp { content_by_lua_block {
      local sock = ngx.socket.udp()
      assert(sock:setpeername("127.0.0.1", 9)) assert(sock:send("x")) ngx.say("sent") } }
    location = /timeout { content_by_lua_block {
      local sock = ngx.socket.tcp() sock:settimeout(50)
      assert(sock:connect("127.0.0.1", ${port}))
      local data, err = sock:receive() ngx.say(tostring(data), " ", err) } }
    location = /tls { content_by_lua_block {
      local sock = ngx.socket.tcp()
      assert(sock:connect("127.0.0.1", ${tlsPort}))
      assert(sock:sslhandshake(nil, "core.test", false))
      sock:send("GET / HTTP/1.0\\r\\n\\r\\n")
      ngx.print(sock:receive("*a"):match("\\r\\n\\r\\n(.*)")) } }
    location = /dict { content_by_lua_block {
      local d = ngx.shared.core
      local first = d:incr("n", 1, 0) d:incr("n", 2)
      local _, err = d:add("n", 1)
      d:set("gone", 1, 0.001) ngx.sleep(0.02)
      ngx.say(first, " ", d:get("n"), " ", err, " ", d:get("gone")) } }
    location = /dict/get { content_by_lua_block { ngx.say(ngx.shared.core:get("n")) } }
    location = /dict/full { content_by_lua_block {
      local d, forced = ngx.shared.small, false
      for i = 1, 2000 do local _, _, f = d:set("key" .. i, ("v"):rep(50)) forced = forced or f end
      ngx.say("evicted ", tostring(forced and d:get("key1") == nil and d:get("key2000") ~= nil)) } }
    location = /resty { content_by_lua_block {
      local cache = require("resty.lrucache").new(10) cache:set("a", 5)
      ngx.say(require("resty.core").version ~= nil, " ", cache:get("a"), " ", type(require("resty.core.base"))) } }
    location = /pipe { content_by_lua_block {
      local proc = assert(require("ngx.pipe").spawn({ "/bin/sh", "-c", "echo from a program" }))
      ngx.say((proc:stdout_read_line())) proc:wait() } }
    location = /worker-thread { content_by_lua_block {
      ngx.say(tostring((ngx.run_worker_thread("core", "answer", "get", 41))), " ", select(2, ngx.run_worker_thread("core", "answer", "get", 41))) } }
  }
  server {
    listen 127.0.0.1:${tlsPort} ssl;
    ssl_certificate cert.pem;
    ssl_certificate_key key.pem;
    location / { content_by_lua_block { ngx.say("secure ", ngx.var.ssl_protocol) } }
  }
}`;
}

/** For the name core.test; made for this test and good for nothing else. */
function certificate() {
  const cert = `-----BEGIN CERTIFICATE-----
MIIBfzCCASWgAwIBAgIUHrib0At3x+GbPpCSR+2DVtNg4qUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJY29yZS50ZXN0MCAXDTI2MTEyMTE1MTQyOVoYDzIxMjYxMDI4
MTUxNDI5WjAUMRIwEAYDVQQDDAljb3JlLnRlc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASEQHkaI/MFEfpEnK9X26xVwvqKmsuLASUgAEkjVEosJEqLaK7WVEMK
p8ceF14DMsLLXdIb5AYaVLxiG+flpmdgo1MwUTAdBgNVHQ4EFgQUIJdv+VnUi0zv
u7c8IQnLuvw8WwMwHwYDVR0jBBgwFoAUIJdv+VnUi0zvu7c8IQnLuvw8WwMwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEAkVyn2NaNeycPyEWayhpM
DFpQoR51YgYUb9uwRXQ3C6kCIBUnmOVbbxlW7t0MDnmRpiNkPkrNvWth8QUs35wV
izR5
-----END CERTIFICATE-----
`;
  const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgU12RiR6bV5X8txgl
Fu+uvKa9o/oJUbFh4Gl9+AR1bNShRANCAASEQHkaI/MFEfpEnK9X26xVwvqKmsuL
ASUgAEkjVEosJEqLaK7WVEMKp8ceF14DMsLLXdIb5AYaVLxiG+flpmdg
-----END PRIVATE KEY-----
`;
  return { cert, key };
}

if (isMainThread) {
  await main();
} else {
  const vm = new LuaVM();
  workerData.port.postMessage(vm.eval('return 20 + 1'));
  vm.close();
  workerData.port.close();
}
