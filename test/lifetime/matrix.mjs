// Every operation that a coroutine can wait in, and every way in which the wait can be cut short. Used by matrix.test.ts,
// and by whoever runs it under a sanitizer: MOONPHASE_GC_STRESS=1 scripts/with-sanitizer.sh asan node scripts/test.mjs
// test/lifetime/matrix.test.ts

/** Names of `ops` in the Lua below. */
export const operations = [
  'sleep',
  'semaphore',
  'thread',
  'nested',
  'coroutine',
  'capture',
  'connect',
  'receive',
  'receiveuntil',
  'send',
  'pool',
  'udp',
  'resolve',
  'body',
  'flush',
  'pipe_read',
  'pipe_write',
  'pipe_wait',
  'worker_thread',
];

/** How long an operation waits when nothing happens, in ms: longer than any way to end it takes. */
export const LONG = 30_000;

export const lua = `
local semaphore, pipe = require "ngx.semaphore", require "ngx.pipe"
local ops = {}
function ops.sleep(s) ngx.sleep(s) end
function ops.semaphore(s) semaphore.new(0):wait(s) end
function ops.thread(s) ngx.thread.wait(ngx.thread.spawn(ops.sleep, s), ngx.thread.spawn(ops.semaphore, s)) end
function ops.nested(s)
    -- a parent that is gone, children that still wait
    ngx.thread.spawn(function() ngx.thread.spawn(ops.sleep, s) ngx.thread.spawn(ops.receive, s) end)
    ngx.sleep(s)
end
function ops.coroutine(s)
    local co = coroutine.wrap(function() coroutine.wrap(function() ngx.sleep(s) end)() end)
    co()
end
function ops.capture(s) ngx.location.capture("/wait?s=" .. s) end
local function peer(s)
    local sock = ngx.socket.tcp()
    sock:settimeouts(s * 1000, s * 1000, s * 1000)
    assert(sock:connect("127.0.0.1", silent_port))
    return sock
end
function ops.connect(s)
    -- a queue that nobody accepts from
    local sock = ngx.socket.tcp()
    sock:settimeout(s * 1000)
    sock:connect("127.0.0.1", full_port)
    ngx.sleep(s)
end
function ops.receive(s) peer(s):receive("*l") end
function ops.receiveuntil(s) peer(s):receiveuntil("--end--")() end
function ops.send(s)
    local sock = peer(s)
    local big = ("x"):rep(1000000)
    while sock:send(big) do end
end
function ops.pool(s)
    local options = { pool = "one", pool_size = 1, backlog = 100 }
    local first = ngx.socket.tcp()
    first:settimeout(s * 1000)
    first:connect("127.0.0.1", silent_port, options)
    first:receive("*l")
end
function ops.udp(s)
    local sock = ngx.socket.udp()
    sock:settimeout(s * 1000)
    assert(sock:setpeername("127.0.0.1", udp_port))
    sock:receive()
end
function ops.resolve(s)
    local sock = ngx.socket.tcp()
    sock:settimeout(s * 1000)
    sock:connect("name.invalid-" .. ngx.now() .. ".test", 80)
end
function ops.body() ngx.req.read_body() ngx.sleep(1000) end
function ops.flush(s)
    local chunk = ("x"):rep(1000000)
    for i = 1, 20 do ngx.print(chunk) if not ngx.flush(true) then break end end
    ngx.sleep(s)
end
local function cat(s)
    local proc = assert(pipe.spawn({ "sleep", tostring(s) }))
    proc:set_timeouts(s * 1000, s * 1000, s * 1000, s * 1000)
    return proc
end
function ops.pipe_read(s)
    local proc = cat(s)
    ngx.thread.spawn(function() proc:stderr_read_all() end)
    proc:stdout_read_line()
end
function ops.pipe_write(s)
    local proc = cat(s)
    while proc:write(("x"):rep(100000)) do end
end
function ops.pipe_wait(s) cat(s):wait() end
function ops.worker_thread(s) ngx.run_worker_thread("pool", "matrix_thread", "wait", s < 10 and s or 0.2) ngx.sleep(s) end
-- an operation that was cut short by its own timeout ends; others must not
return {
    ops = ops,
    short = function(name)
        local ok, why = pcall(ops[name], 0.05)
        ngx.say(name, ok and "" or ": " .. tostring(why))
    end,
}
`;

// Not os.execute: while system(3) waits, SIGQUIT and SIGINT are ignored by the whole process.
export const thread = `
local ffi = require "ffi"
ffi.cdef "int usleep(unsigned int);"
return { wait = function(s) ffi.C.usleep(s * 1000000) end }
`;

/** The http context. $port1 is accepted from and never answered, $port2 is nobody's, $port3 swallows datagrams. */
export const http = (codeCache) => `
    lua_package_path "$prefix/?.lua;;";
    lua_check_client_abort on;
    lua_socket_log_errors off;
    lua_code_cache ${codeCache ? 'on' : 'off'};
    lua_max_running_timers 4096;
    resolver 127.0.0.1:$port3 ipv6=off;
    resolver_timeout 500ms;
    lua_worker_thread_vm_pool_size 40;
    init_by_lua_block { silent_port, full_port, udp_port = $port1, $port2, $port3 }
    server {
        listen 127.0.0.1:$port;
        access_log off;
        client_body_timeout 40s;
        client_max_body_size 10m;
        send_timeout 40s;
        location = /ok { content_by_lua_block { ngx.say("ok") } }
        location = /wait { content_by_lua_block { ngx.sleep(tonumber(ngx.var.arg_s)) } }
        location = /memory { content_by_lua_block { collectgarbage() collectgarbage() ngx.say(math.floor(collectgarbage("count"))) } }
        location = /op { content_by_lua_block { require("matrix").ops[ngx.var.arg_op](${LONG / 1000}) } }
        location = /access {
            access_by_lua_block { require("matrix").ops[ngx.var.arg_op](${LONG / 1000}) }
            content_by_lua_block { ngx.say("in") }
        }
        location = /short { content_by_lua_block { require("matrix").short(ngx.var.arg_op) } }
        location = /kill {
            content_by_lua_block {
                local t = ngx.thread.spawn(require("matrix").ops[ngx.var.arg_op], ${LONG / 1000})
                ngx.sleep(0.02)
                local ok, why = ngx.thread.kill(t)
                if ok or why == "pending subrequests" then ngx.say("killed") else ngx.say(why) end
                ngx.exit(200)
            }
        }
        location = /exit {
            content_by_lua_block {
                ngx.thread.spawn(require("matrix").ops[ngx.var.arg_op], ${LONG / 1000})
                ngx.sleep(0.02)
                ngx.say("left")
                ngx.exit(200)
            }
        }
        location = /error {
            content_by_lua_block {
                ngx.thread.spawn(require("matrix").ops[ngx.var.arg_op], ${LONG / 1000})
                ngx.sleep(0.02)
                ngx.say("failed")
                error("on purpose")
            }
        }
        location = /timer {
            content_by_lua_block {
                local name = ngx.var.arg_op
                ngx.timer.at(0, function() pcall(require("matrix").ops[name], ${LONG / 1000}) end)
                ngx.sleep(0.02)
                ngx.say("started")
            }
        }
    }
`;
