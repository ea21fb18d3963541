// What clients and operators do to a server at bad moments. Used by lifetime.test.ts in short, by bench/soak.mjs at length.
import net from 'node:net';

/** Every place where a request can wait. `send` is what the client sends before it goes away. */
export const places = [
  { name: 'sleep', target: '/sleep' },
  { name: 'subrequest', target: '/subrequest' },
  { name: 'cosocket read', target: '/cosocket' },
  { name: 'body', target: '/body', body: 'Content-Length: 100000\r\n\r\nhalf' },
  { name: 'chunked body', target: '/body', body: 'Transfer-Encoding: chunked\r\n\r\n5\r\nhe' },
  { name: 'flush', target: '/flush' },
  { name: 'thread wait', target: '/thread' },
  { name: 'semaphore', target: '/semaphore' },
  { name: 'access', target: '/access' },
  { name: 'on_abort', target: '/on-abort' },
  { name: 'half a header', target: '/sleep HTTP/1.1\r\nHost: loc', half: true },
];

export const http = `
    lua_check_client_abort on;
    lua_shared_dict counts 64k;
    lua_socket_log_errors off;
    init_by_lua_block { semaphores = require "ngx.semaphore" }
    server {
        listen 127.0.0.1:$port;
        access_log off;
        keepalive_requests 1000000;
        client_max_body_size 10m;
        log_by_lua_block { ngx.shared.counts:incr("ended", 1, 0) }
        location = /ok { content_by_lua_block { ngx.say("ok") } }
        location = /ended { content_by_lua_block { ngx.say(ngx.shared.counts:get("ended") or 0) } }
        location = /memory { content_by_lua_block { collectgarbage() collectgarbage() ngx.say(math.floor(collectgarbage("count"))) } }
        location = /sleep { content_by_lua_block { ngx.sleep(0.3) ngx.say("slept") } }
        location = /subrequest { content_by_lua_block { local r = ngx.location.capture("/sleep") ngx.print(r.body) } }
        location = /access { access_by_lua_block { ngx.sleep(0.3) } content_by_lua_block { ngx.say("in") } }
        location = /cosocket {
            content_by_lua_block {
                local sock = ngx.socket.tcp()
                sock:settimeout(300)
                if sock:connect("127.0.0.1", ngx.var.server_port) then
                    sock:receive("*l")
                end
                ngx.say("read")
            }
        }
        location = /body { client_body_timeout 300ms; content_by_lua_block { ngx.req.read_body() ngx.say("read") } }
        location = /flush {
            content_by_lua_block {
                local chunk = ("x"):rep(65536)
                for i = 1, 100 do
                    ngx.print(chunk)
                    if not ngx.flush(true) then return end
                end
            }
        }
        location = /thread {
            content_by_lua_block {
                local threads = {}
                for i = 1, 3 do threads[i] = ngx.thread.spawn(function() ngx.sleep(0.1 * i) return i end) end
                for i = 1, 3 do ngx.thread.wait(threads[i]) end
                ngx.say("waited")
            }
        }
        location = /semaphore { content_by_lua_block { semaphores.new(0):wait(0.3) ngx.say("waited") } }
        location = /on-abort {
            content_by_lua_block {
                assert(ngx.on_abort(function() ngx.shared.counts:incr("aborted", 1, 0) ngx.exit(499) end))
                ngx.sleep(0.3)
                ngx.say("slept")
            }
        }
        location = /aborted { content_by_lua_block { ngx.say(ngx.shared.counts:get("aborted") or 0) } }
    }
`;

/** The same for lua_phase_capabilities extended: where filters, set and log wait. */
export const extendedPlaces = [
  { name: 'header filter', target: '/header' },
  { name: 'header filter of a file', target: '/file' },
  { name: 'body filter', target: '/body' },
  { name: 'body filter, queued', target: '/queued' },
  { name: 'both, proxied', target: '/proxied' },
  { name: 'a subrequest in a filter', target: '/capture' },
  { name: 'filters of a subrequest', target: '/captured' },
  { name: 'set', target: '/set' },
  { name: 'set, subrequest', target: '/set-capture' },
  { name: 'log', target: '/log' },
  { name: 'cosocket in a filter', target: '/cosocket' },
  { name: 'exit after a wait', target: '/exit' },
  { name: 'error after a wait', target: '/error' },
  { name: 'threads in a filter', target: '/threads' },
  { name: 'another thread sends', target: '/sends' },
  ...places.filter((place) => !['/body', '/cosocket'].includes(place.target)),
];

export const extendedHttp = http
  .replace(
    'lua_check_client_abort on;',
    'lua_phase_capabilities extended; lua_check_client_abort on;',
  )
  .replace('log_by_lua_block {', 'log_by_lua_block { ngx.sleep(0.02)')
  .replace('location = /cosocket', 'location = /unused-cosocket')
  .replace('location = /body', 'location = /unused-body')
  .replace(
    'location = /semaphore',
    `
        location = /header { content_by_lua_block { ngx.say("x") } header_filter_by_lua_block { ngx.sleep(0.1) } }
        location = /file { root conf; try_files /nginx.conf =404; header_filter_by_lua_block { ngx.sleep(0.1) } body_filter_by_lua_block { ngx.sleep(0.05) } }
        location = /body { content_by_lua_block { ngx.say("x") ngx.say("y") } body_filter_by_lua_block { ngx.sleep(0.05) } }
        location = /queued {
            content_by_lua_block { ("abc"):gsub(".", function(c) ngx.say(c) end) ngx.flush(true) }
            header_filter_by_lua_block { ngx.sleep(0.05) } body_filter_by_lua_block { ngx.sleep(0.02) }
        }
        location = /big { content_by_lua_block { for i = 1, 20 do ngx.print(("x"):rep(65536)) end } }
        location = /proxied {
            proxy_pass http://127.0.0.1:$server_port/big;
            header_filter_by_lua_block { ngx.sleep(0.05) } body_filter_by_lua_block { ngx.sleep(0.002) }
        }
        location = /capture {
            content_by_lua_block { ngx.say("x") }
            header_filter_by_lua_block { ngx.location.capture("/sleep") } body_filter_by_lua_block { ngx.location.capture("/sleep") }
        }
        location = /captured { content_by_lua_block { ngx.print(ngx.location.capture("/queued").body, ngx.location.capture("/file").body) } }
        location = /set { set_by_lua_block $x { ngx.sleep(0.1) return 1 } return 200 $x; }
        location = /set-capture { set_by_lua_block $x { return ngx.location.capture("/queued").body } return 200 $x; }
        location = /log { content_by_lua_block { ngx.say("x") } log_by_lua_block { ngx.sleep(0.2) ngx.shared.counts:incr("ended", 1, 0) } }
        location = /cosocket {
            content_by_lua_block { ngx.say("x") }
            body_filter_by_lua_block {
                local sock = ngx.socket.tcp()
                sock:settimeout(100)
                if sock:connect("127.0.0.1", ngx.var.server_port) then sock:receive("*l") end
            }
        }
        location = /exit { content_by_lua_block { ngx.say("x") } header_filter_by_lua_block { ngx.sleep(0.05) ngx.exit(403) } }
        location = /error { log_by_lua_block { } content_by_lua_block { ngx.say("x") } header_filter_by_lua_block { ngx.sleep(0.05) error("on purpose") } }
        location = /threads {
            content_by_lua_block { ngx.say("x") }
            header_filter_by_lua_block {
                ngx.thread.spawn(function() ngx.sleep(0.05) end)
                ngx.thread.spawn(coroutine.wrap(function() ngx.sleep(0.05) end) and function() ngx.sleep(0.1) end)
            }
        }
        location = /sends {
            header_filter_by_lua_block { ngx.sleep(0.05) } body_filter_by_lua_block { ngx.sleep(0.01) }
            content_by_lua_block {
                for i = 1, 3 do ngx.thread.spawn(function() ngx.sleep(0.01 * i) ngx.say(i) ngx.flush(true) end) end
                ngx.say("0")
                if ngx.var.arg_x then ngx.exit(200) end
            }
        }
        location = /semaphore`,
  );

/** Connects, asks, and goes away after `ms`: by FIN, or by RST. */
export function leave(port, place, ms, reset) {
  return new Promise((done) => {
    const socket = net.connect(port, '127.0.0.1');
    const method = place.body ? 'POST' : 'GET';
    const text = place.half
      ? `GET ${place.target}`
      : `${method} ${place.target} HTTP/1.1\r\nHost: localhost\r\n${place.body ?? '\r\n'}`;
    socket.on('connect', () => {
      socket.write(text);
      setTimeout(() => (reset ? socket.resetAndDestroy() : socket.destroy()), ms);
    });
    socket.on('error', () => undefined);
    socket.on('close', done);
    socket.pause();
  });
}

/** The body of GET `target`; undefined when the connection broke. */
export function get(port, target) {
  return new Promise((done) => {
    let text = '';
    const socket = net.connect(port, '127.0.0.1', () =>
      socket.write(`GET ${target} HTTP/1.0\r\nHost: localhost\r\n\r\n`),
    );
    socket.setTimeout(10000, () => socket.destroy());
    socket.on('data', (data) => (text += data.toString('latin1')));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      const end = text.indexOf('\r\n\r\n');
      done(end < 0 ? undefined : text.slice(end + 4));
    });
  });
}
