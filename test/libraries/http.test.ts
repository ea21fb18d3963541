// lua-resty-http and lua-resty-upload: chunks, streams, TLS, proxies, keep-alive, forms.
import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { request } from '../helpers/http.js';
import { answers, lacks, luaPath, serverTls } from './library.js';

const path = luaPath('lua-resty-http', 'lua-resty-openssl');
const skip = lacks('lua-resty-http', 'lua-resty-openssl');

/** Node's own server: what it answers depends on the path. */
const serve: http.RequestListener = (req, res) => {
  const url = req.url ?? '';
  if (url === '/echo') {
    res.setHeader('x-method', req.method ?? '');
    req.pipe(res);
  } else if (url === '/chunks') {
    for (let i = 0; i < 100; ++i) res.write(`${'x'.repeat(i)}\n`);
    res.end();
  } else if (url === '/silent') {
    // Nothing.
  } else if (url === '/half') {
    res.writeHead(200, { 'content-length': 100 });
    res.write('abc', () => res.destroy());
  } else {
    res.end(`${req.method} ${url} ${req.headers.host?.replace(/\d+$/, 'PORT')}`);
  }
};

async function listening(t: Test, server: http.Server): Promise<number> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

t.test('http: requests, streams, errors, keep-alive', { skip }, async (t) => {
  let connections = 0;
  const server = http.createServer({ keepAliveTimeout: 60_000 }, serve);
  server.on('connection', () => ++connections);
  const port = await listening(t, server);
  await answers(t, {
    path,
    lua: `
    local http = require "resty.http"
    local at = "http://127.0.0.1:${port}"
    local function one(path, params) return assert(http.new():request_uri(at .. path, params)) end
    ngx.say(one("/hello?a=1").body)
    local big = string.rep("body ", 200000)
    local res = one("/echo", { method = "PUT", body = big })
    ngx.say(res.status, " ", res.headers["X-Method"], " ", res.body == big)

    -- a body that comes from a function, in chunks
    local parts = 0
    res = one("/echo", { method = "POST", headers = { ["Transfer-Encoding"] = "chunked" }, body = function()
      parts = parts + 1
      local part = parts <= 50 and "part " .. parts .. "\\n" or ""
      if parts <= 51 then return ("%x\\r\\n%s\\r\\n"):format(#part, part) end
    end })
    ngx.say(select(2, res.body:gsub("\\n", "")))

    -- a body that is read piece by piece
    local c = http.new()
    c:set_timeouts(1000, 1000, 1000)
    assert(c:connect { scheme = "http", host = "127.0.0.1", port = ${port} })
    res = assert(c:request { path = "/chunks" })
    local sum, longest = 0, 0
    for chunk in function() return res.body_reader(64) end do
      sum, longest = sum + #chunk, math.max(longest, #chunk)
    end
    ngx.say(sum, " ", longest)
    ngx.say((c:set_keepalive()))

    -- three requests before the first answer
    assert(c:connect { scheme = "http", host = "127.0.0.1", port = ${port} })
    ngx.say(c:get_reused_times() > 0)
    for i, r in ipairs(assert(c:request_pipeline { { path = "/1" }, { path = "/2" }, { path = "/3" } })) do
      ngx.say(r.status, " ", r:read_body())
    end
    ngx.say((c:set_keepalive()))

    local h = http.new()
    ngx.say(h:request_uri(at .. "/half"))
    h = http.new()
    h:set_timeout(50)
    ngx.say(h:request_uri(at .. "/silent"))
    ngx.say(http.new():request_uri("http://127.0.0.1:1/"))`,
    expected: [
      'GET /hello?a=1 127.0.0.1:PORT',
      '200 PUT true',
      '50',
      '5050 64',
      '1',
      'true',
      '200 GET /1 127.0.0.1:PORT',
      '200 GET /2 127.0.0.1:PORT',
      '200 GET /3 127.0.0.1:PORT',
      '1',
      'nilclosed',
      'niltimeout',
      'nilconnection refused',
    ],
  });
  // In each round one, kept until it is cut short, and one that says nothing.
  t.equal(connections, 2 * 2);
});

t.test('http: TLS, names, a proxy by CONNECT', { skip }, async (t) => {
  const port = await listening(
    t,
    https.createServer({ ...serverTls, keepAliveTimeout: 60_000 }, serve),
  );
  const proxy = http.createServer();
  const asked: string[] = [];
  proxy.on('connect', (req, socket, head) => {
    asked.push(req.url ?? '');
    const other = net.connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      other.write(head);
      other.pipe(socket).pipe(other);
    });
    other.on('error', () => socket.destroy());
    socket.on('error', () => other.destroy());
  });
  const proxyPort = await listening(t, proxy);
  await answers(t, {
    path,
    http: 'lua_ssl_trusted_certificate $prefix/tls/ca.crt;',
    lua: `
    local http = require "resty.http"
    local function connect(options)
      local c = http.new()
      c:set_timeout(2000)
      local config = { scheme = "https", host = "127.0.0.1", port = ${port}, ssl_server_name = "test.com" }
      for k, v in pairs(options) do config[k] = v end
      local ok, err = c:connect(config)
      return ok and c, err
    end
    local c = assert(connect {})
    ngx.say(assert(c:request { path = "/safe", headers = { Host = "test.com" } }):read_body())
    ngx.say((c:set_keepalive()))
    ngx.say((select(2, connect { ssl_server_name = "other.com" })))
    c = assert(connect { ssl_server_name = "other.com", ssl_verify = false })
    c:close()
    c = assert(connect { host = "test.com", proxy_opts = { https_proxy = "http://127.0.0.1:${proxyPort}" } })
    ngx.say(assert(c:request { path = "/by/proxy", headers = { Host = "test.com" } }):read_body())
    ngx.say((c:set_keepalive()))`,
    expected: [
      'GET /safe test.com',
      '1',
      'certificate host mismatch',
      'GET /by/proxy test.com',
      '1',
    ],
    errors: /\[(alert|crit|emerg)\]/,
  });
  t.same(asked, [`test.com:${port}`], 'the second time from the pool');
});

t.test('http: a proxy in Lua', { skip }, async (t) => {
  const port = await listening(t, http.createServer(serve));
  const server = await answers(t, {
    path,
    times: 1,
    lua: 'ngx.say("up")',
    locations: `location / {
      client_max_body_size 10m;
      content_by_lua_block {
        local c = require("resty.http").new()
        assert(c:connect("127.0.0.1", ${port}))
        local res = assert(c:request {
          method = ngx.req.get_method(), path = ngx.var.request_uri, headers = ngx.req.get_headers(),
          body = c:get_client_body_reader(8192),
        })
        c:proxy_response(res)
        c:set_keepalive()
      }
    }`,
    expected: ['up'],
  });
  const body = 'streamed '.repeat(100_000);
  const echoed = await request(server.port, '/echo', { method: 'POST', body });
  t.equal(echoed.status, 200);
  t.equal(echoed.body, body);
  t.equal(echoed.header('x-method'), 'POST');
  t.equal((await request(server.port, '/plain')).body, 'GET /plain localhost');
  t.notMatch(server.errorLog(), /\[(error|alert|crit|emerg)\]/);
});

t.test('upload: forms as they come', { skip: lacks('lua-resty-upload') }, async (t) => {
  const server = await answers(t, {
    path: luaPath('lua-resty-upload'),
    times: 1,
    lua: 'ngx.say("up")',
    locations: `location = /form {
      client_max_body_size 10m;
      content_by_lua_block {
        local form, err = require("resty.upload"):new(4096)
        if not form then return ngx.say(err) end
        form:set_timeout(1000)
        local names, sizes, part = {}, {}, 0
        while true do
          local kind, res, err = form:read()
          if not kind then return ngx.say(err) end
          if kind == "header" and res[1] == "Content-Disposition" then
            part = part + 1
            names[part], sizes[part] = res[2]:match('name="(.-)"'), 0
          elseif kind == "body" then
            sizes[part] = sizes[part] + #res
          elseif kind == "eof" then
            break
          end
        end
        for i = 1, part do ngx.say(names[i], " ", sizes[i]) end
      }
    }`,
    expected: ['up'],
  });
  const form = (parts: readonly (readonly [string, string])[], end = '--b--\r\n') =>
    parts
      .map(
        ([name, body]) =>
          `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${body}\r\n`,
      )
      .join('') + end;
  const post = async (body: string, type = 'multipart/form-data; boundary=b') => {
    const headers = { 'Content-Type': type };
    return (await request(server.port, '/form', { method: 'POST', headers, body })).body
      .trim()
      .split('\n');
  };
  // The boundary's first characters again and again, before it comes.
  const tricky = '\r\n--\r\n-\r\n--a\r\n--'.repeat(5000);
  t.same(
    await post(
      form([
        ['a', 'hello'],
        ['file', 'x'.repeat(1_000_000)],
        ['t', tricky],
      ]),
    ),
    ['a 5', 'file 1000000', `t ${tricky.length}`],
  );
  t.same(await post(form([['a', 'hello']], '')), ['closed']);
  t.same(await post('', 'text/plain'), ['no boundary defined in Content-Type']);
});
