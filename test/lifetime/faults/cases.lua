-- What a cosocket says when its peer misbehaves. A case: the peer that it talks to (peers.mjs), what it may answer
-- (whole strings; any of them), and a function that is given a new socket and `dial`, which connects it.
local LIMIT, PATIENCE = 60, 5000 -- ms: where a timeout is what is expected, and where it is not

local cases = {}
local function case(name, peer, expected, run, options)
  local c = { name = name, peer = peer, run = run, expected = {} }
  for flag, on in pairs(options or {}) do c[flag] = on end
  c.limit = PATIENCE
  for _, text in ipairs(expected) do
    c.expected[text] = true
    if text:find("timeout") then c.limit = LIMIT end
  end
  cases[#cases + 1] = c
end

local function say(...)
  local words = {}
  for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
  return table.concat(words, " ")
end

local UNIX = { unix = true }
local big = string.rep("x", 32 * 1024 * 1024)
local resets = { "nil connection reset by peer", "nil broken pipe" }

case("refused", "refuse", { "nil connection refused" }, function(sock, dial) return say(dial(sock)) end, UNIX)

case("backlog full", "stuck", { "nil timeout" }, function(sock, dial) return say(dial(sock)) end)

case("reset at once", "reset", { "connect nil connection reset by peer", "nil connection reset by peer " },
  function(sock, dial)
    local ok, err = dial(sock)
    if not ok then return say("connect", ok, err) end
    return say(sock:receive("*l"))
  end)

case("closed at once", "close", { "nil closed  nil closed" }, function(sock, dial)
  assert(dial(sock))
  return say(sock:receive("*l")) .. " " .. say(sock:receive("*l"))
end, UNIX)

case("closed at once, *a", "close", { " nil closed" }, function(sock, dial)
  assert(dial(sock))
  local all = sock:receive("*a")
  sock:close()
  return say(all) .. " " .. say(sock:receive(1))
end, UNIX)

for how, expected in pairs {
  ["*l"] = "nil closed abc", ["*a"] = "abc", [10] = "nil closed abc",
} do
  case("closed after a part, " .. how, "part_close", { expected }, function(sock, dial)
    assert(dial(sock))
    return say(sock:receive(how))
  end, UNIX)
end

case("closed after a part, until", "part_close", { "nil closed ab" }, function(sock, dial)
  assert(dial(sock))
  return say(sock:receiveuntil("cd")())
end, UNIX)

case("closed after a part, any", "part_close", { "abc nil closed " }, function(sock, dial)
  assert(dial(sock))
  return say(sock:receiveany(10)) .. " " .. say(sock:receiveany(10))
end, UNIX)

-- On a busy machine the reset may be there before the connect is looked at.
case("reset after a part", "part_reset", { "nil connection reset by peer abc", "nil connection reset by peer" },
  function(sock, dial)
    local ok, err = dial(sock)
    if not ok then return say(ok, err) end
    return say(sock:receive(10))
  end)

case("half closed: still hears", "half", { "abc nil closed  4" }, function(sock, dial)
  assert(dial(sock))
  return say(sock:receive("*l")) .. " " .. say(sock:receive("*l")) .. " " .. say(sock:send("more"))
end, UNIX)

case("one byte at a time", "drip", { "hello world 0123456789 body nil closed tail" }, function(sock, dial)
  assert(dial(sock))
  sock:settimeouts(5000, 5000, 5000)
  local until_end = sock:receiveuntil("--end--")
  return say(sock:receive("*l")) .. " " .. say(sock:receive(10)) .. " " .. say(until_end()) .. " " ..
    say(sock:receive("*l"))
end, UNIX)

case("never answers", "silent", { "nil timeout " }, function(sock, dial)
  assert(dial(sock))
  return say(sock:receive("*l"))
end, UNIX)

-- On a busy machine the part may come after the first timeout.
case("stops in the middle", "stall", { "nil timeout abc nil timeout ", "nil timeout  nil timeout abc" }, function(sock, dial)
  assert(dial(sock))
  return say(sock:receive(10)) .. " " .. say(sock:receive(10))
end, UNIX)

case("never reads", "deaf", { "nil timeout" }, function(sock, dial)
  assert(dial(sock))
  return say(sock:send(big))
end, { unix = true, heavy = true })

case("resets what is sent", "deaf_reset", resets, function(sock, dial)
  local ok, err = dial(sock)
  if not ok then return say(ok, err) end
  return say(sock:send(big))
end, { heavy = true })

case("sends after a reset", "reset_soon", {
  "nil connection reset by peer  nil closed", "nil connection reset by peer  nil broken pipe",
  "nil connection reset by peer",
}, function(sock, dial)
  local ok, err = dial(sock)
  if not ok then return say(ok, err) end
  return say(sock:receive("*l")) .. " " .. say(sock:send("x"))
end)

-- A pool of its own: what another round has kept is another round's.
local pools = 0
local function own_pool()
  pools = pools + 1
  return { pool = "own" .. pools }
end

local function kept(sock, dial, wait)
  local own = own_pool()
  assert(dial(sock, own))
  sock:send("x\n")
  local bye = sock:receive("*l")
  local ok = sock:setkeepalive(1000)
  ngx.sleep(wait or 0.1)
  local again = ngx.socket.tcp()
  again:settimeouts(2000, 2000, 2000)
  assert(dial(again, own))
  local times = again:getreusedtimes()
  again:send("x\n")
  return bye, ok, times, again:receive("*l")
end

case("kept, then closed", "close_on_line", { "bye 1 0 bye" }, function(sock, dial)
  local bye, ok, times, line = kept(sock, dial)
  return say(bye, ok or 1, times, line)
end, UNIX)

-- On a busy machine it may be told before it is kept, which is refused then; and it must not be late for the second look.
case("kept, then told more", "stray_later", { "bye 1 0 bye", "bye nil 0 bye" }, function(sock, dial)
  return say(kept(sock, dial, 0.4))
end, UNIX)

case("kept with bytes unread", "chatty", { "abc nil unread data in buffer", "abc nil connection in dubious state" },
  function(sock, dial)
    assert(dial(sock))
    return say(sock:receive(3)) .. " " .. say(sock:setkeepalive(1000))
  end, UNIX)

case("kept where the peer has closed", "part_close", { "abc nil closed" }, function(sock, dial)
  assert(dial(sock))
  local part = sock:receive(3)
  ngx.sleep(0.1)
  return say(part, sock:setkeepalive(1000))
end, UNIX)

case("two that read", "silent", { "nil socket busy reading" }, function(sock, dial)
  assert(dial(sock))
  local reader = ngx.thread.spawn(function() return sock:receive(1) end)
  local answer = say(sock:receive(1))
  ngx.thread.kill(reader)
  return answer
end, UNIX)

-- Rounds that wait for nothing connect faster than the peer accepts: connect(2) on a unix path tells that at once.
local FULL = "nil resource temporarily unavailable"

case("a thread that reads is killed", "silent", { "1 nil closed", FULL }, function(sock, dial)
  local ok, err = dial(sock)
  if not ok then return say(ok, err) end
  local reader = ngx.thread.spawn(function() return sock:receive(1) end)
  return say(ngx.thread.kill(reader)) .. " " .. say(sock:receive(1))
end, UNIX)

case("forgotten while connected", "silent", { "1", FULL }, function(sock, dial) return say(dial(sock)) end, UNIX)

-- TLS: `dial` has connected; the handshake is the case's.

for _, how in ipairs { "close", "tls_close", "tls_reset", "reset_soon", "tls_garbage", "tls_part_close" } do
  local expected = { "nil handshake failed" }
  if how == "reset_soon" then expected[2] = "nil connection reset by peer" end -- of connect, on a busy machine
  case("handshake: " .. how, how, expected, function(sock, dial)
    local ok, err = dial(sock)
    if not ok then return say(ok, err) end
    return say(sock:sslhandshake(false, "test.com"))
  end, { unix = not how:find("reset") })
end

for _, how in ipairs { "silent", "tls_part_stall" } do
  case("handshake: " .. how, how, { "nil timeout" }, function(sock, dial)
    assert(dial(sock))
    return say(sock:sslhandshake(false, "test.com"))
  end, UNIX)
end

case("handshake after a failed one", "tls_close", { "nil handshake failed nil closed" }, function(sock, dial)
  assert(dial(sock))
  return say(sock:sslhandshake(false, "test.com")) .. " " .. say(sock:sslhandshake(false, "test.com"))
end)

local function over_tls(name, peer, expected, run, options)
  case("TLS: " .. name, peer, expected, function(sock, dial)
    sock:settimeouts(20000, 20000, 20000)
    assert(dial(sock))
    assert(sock:sslhandshake(nil, "test.com"))
    local limit = expected[1]:find("timeout") and LIMIT or PATIENCE
    sock:settimeouts(limit, limit, limit)
    return run(sock, dial)
  end, options)
end

case("TLS: an unknown authority", "tls_echo", {
  "nil 20: unable to get local issuer certificate", "nil 21: unable to verify the first certificate",
}, function(sock, dial)
  sock:settimeouts(20000, 20000, 20000)
  assert(dial(sock))
  return say(sock:sslhandshake(nil, "test.com", true))
end)
over_tls("answers", "tls_echo", { "1 abc 1" }, function(sock)
  assert(sock:send("abc\n"))
  return "1 " .. say(sock:receive("*l")) .. " " .. say(sock:setkeepalive(10))
end, { unix = true })
over_tls("never answers", "tls_silent", { "nil timeout " }, function(sock) return say(sock:receive("*l")) end)
over_tls("close notify", "tls_notify", { "nil closed abc" }, function(sock) return say(sock:receive("*l")) end)
over_tls("closed without it", "tls_fin", { "nil closed abc" }, function(sock) return say(sock:receive("*l")) end)
over_tls("reset", "tls_reset_later", { "nil connection reset by peer abc" },
  function(sock) return say(sock:receive("*l")) end)
over_tls("garbage after the handshake", "tls_spoilt", { "nil protocol error abc" },
  function(sock) return say(sock:receive("*l")) end)
-- Both are there when the first byte is asked for.
local function later(sock)
  ngx.sleep(0.1)
  return say(sock:receive("*l")) .. " " .. say(sock:receive("*l"))
end
over_tls("reset, read later", "tls_reset_later", { "nil connection reset by peer abc nil closed" }, later)
over_tls("garbage, read later", "tls_spoilt", { "nil protocol error abc nil closed" }, later)
over_tls("close notify, read later", "tls_notify", { "nil closed abc nil closed" }, later)
over_tls("never reads", "tls_deaf", { "nil timeout" }, function(sock) return say(sock:send(big)) end, { heavy = true })
over_tls("one byte at a time", "tls_drip", { "abc" }, function(sock)
  sock:settimeouts(5000, 5000, 5000)
  assert(sock:send("abc\n"))
  return say(sock:receive("*l"))
end, { heavy = true })

-- UDP: `dial` is setpeername.

local UDP = { udp = true }
-- x: the port that the system gave the socket is the very one that it talks to.
case("UDP: nobody there", "refuse", {
  "1 nil connection refused", "1 nil connection refused nil connection refused", "1 x",
}, function(sock, dial)
  assert(dial(sock))
  return say(sock:send("x")) .. " " .. say(sock:receive())
end, UDP)
case("UDP: never answers", "udp_silent", { "1 nil timeout" }, function(sock, dial)
  assert(dial(sock))
  return say(sock:send("x")) .. " " .. say(sock:receive())
end, UDP)
case("UDP: an empty answer", "udp_empty", { " 0" }, function(sock, dial)
  sock:settimeout(2000)
  assert(dial(sock))
  sock:send("x")
  local answer, err = sock:receive()
  return say(answer, err and err or #answer)
end, UDP)
case("UDP: more than asked for", "udp_long", { "01234 nil timeout" }, function(sock, dial)
  sock:settimeout(2000)
  assert(dial(sock))
  sock:send("x")
  local answer = sock:receive(5)
  sock:settimeout(LIMIT)
  return say(answer) .. " " .. say(sock:receive())
end, UDP)
case("UDP: closed while one reads", "udp_silent", { "1 nil closed" }, function(sock, dial)
  assert(dial(sock))
  local reader = ngx.thread.spawn(function() return sock:receive() end)
  local killed = ngx.thread.kill(reader)
  sock:close()
  return say(killed) .. " " .. say(sock:receive())
end, UDP)

-- Names: the resolver's servers misbehave. `dial` connects to a new name each time.

case("resolver: never answers", "dns_silent", { "NAME could not be resolved (110: Operation timed out)" },
  function(sock, dial) return (select(2, dial(sock))) end, { dns = true })
case("resolver: fails", "dns_failure", { "NAME could not be resolved (2: Server failure)" },
  function(sock, dial) return (select(2, dial(sock))) end, { dns = true })
case("resolver: garbage", "dns_garbage", { "NAME could not be resolved (110: Operation timed out)" },
  function(sock, dial) return (select(2, dial(sock))) end, { dns = true })

local names = 0
-- One round: what it answered, if that is unexpected.
local function round(c, port, path)
  local sock = c.udp and ngx.socket.udp() or ngx.socket.tcp()
  if c.udp then sock:settimeout(c.limit) else sock:settimeouts(c.limit, c.limit, c.limit) end
  local name
  local function dial(s, options)
    if options then
      if path then return s:connect("unix:" .. path, options) end
      return s:connect("127.0.0.1", port, options)
    end
    if path then return (c.udp and s.setpeername or s.connect)(s, "unix:" .. path) end
    if c.dns then
      names = names + 1
      name = "name" .. names .. ".test"
      return s:connect(name, 80)
    end
    return (c.udp and s.setpeername or s.connect)(s, "127.0.0.1", port)
  end
  local ok, answer = pcall(c.run, sock, dial)
  if name then answer = answer:gsub(name, "NAME") end
  if not ok then answer = "error: " .. answer end
  if c.name == "refused" then answer = answer:gsub("no such file or directory", "connection refused") end
  return not c.expected[answer] and answer or nil
end

local _M = {}

function _M.list()
  local lines = {}
  for i, c in ipairs(cases) do
    local flags = {}
    for _, flag in ipairs { "unix", "heavy", "dns" } do
      if c[flag] then flags[#flags + 1] = flag end
    end
    lines[i] = table.concat({ i, c.peer, table.concat(flags, ","), c.name }, "\t")
  end
  return table.concat(lines, "\n")
end

-- Runs a case; answers the longest round in ms and the unexpected answers, a line each.
function _M.run(args)
  local c = cases[tonumber(args.case)]
  local port, path = tonumber(args.port), args.path
  local longest, wrong = 0, {}
  for _ = 1, tonumber(args.rounds) do
    ngx.update_time()
    local begun = ngx.now()
    local answer = round(c, port, path)
    ngx.update_time()
    longest = math.max(longest, ngx.now() - begun)
    if answer and #wrong < 3 then wrong[#wrong + 1] = answer end
  end
  return math.floor(longest * 1000) .. "\n" .. table.concat(wrong, "\n")
end

-- A TCP port with a full queue that nobody accepts from.
function _M.stuck(port)
  local ffi = require "ffi"
  ffi.cdef [[
    int socket(int, int, int); int bind(int, const void *, unsigned); int listen(int, int);
    struct stuck_in { unsigned short family; unsigned char port[2]; unsigned char addr[4]; char zero[8]; };
  ]]
  local fd = ffi.C.socket(2, 1, 0)
  local at = ffi.new("struct stuck_in", 2, { math.floor(port / 256), port % 256 }, { 127, 0, 0, 1 })
  assert(ffi.C.bind(fd, at, 16) == 0 and ffi.C.listen(fd, 0) == 0)
  local held = {}
  for i = 1, 4 do
    held[i] = ngx.socket.tcp()
    held[i]:settimeouts(200, 200, 200)
    held[i]:connect("127.0.0.1", port)
  end
  return held
end

return _M
