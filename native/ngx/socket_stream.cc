// receive, receiveany, receiveuntil, send, close and timeouts: what ngx.socket.tcp's objects and
// those of ngx.req.socket have in common.
#include "ngx/socket_stream.h"

#include <new>

#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "ngx/socket_data.h"

namespace moonphase::ngx {

using engine::LuaCtx;
using engine::Receiver;
using engine::StreamSocket;

StreamSocket* socket_of(lua_State* L, int index) {
  lua_rawgeti(L, index, kCtx);
  auto* s = static_cast<StreamSocket*>(lua_touserdata(L, -1));
  if (s && (lua_objlen(L, -1) < sizeof(StreamSocket) || !StreamSocket::genuine(s)))
    luaL_error(L, "%s", kNotItsOwn);
  lua_pop(L, 1);
  return s;
}

int wait_with(lua_State* L, int index, engine::Pending* p) {
  lua_rawgeti(L, index, kCtx);
  return engine::wait(L, p);
}

int fail(lua_State* L, const char* why) {
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

const char* busy(const StreamSocket* s, unsigned which) {
  if ((which & kBusyConnecting) && s->busy_connecting()) return "socket busy connecting";
  if ((which & kBusyReading) && s->busy_reading()) return "socket busy reading";
  if ((which & kBusyWriting) && s->busy_writing()) return "socket busy writing";
  return nullptr;
}

namespace {

const char kUntilMeta[] = "moonphase.until";
const char kGcMeta[] = "moonphase.socket.gc";

void log_closed(LuaCtx* ctx, const StreamSocket* s, const char* verb) {
  if (!engine::loc(ctx->r)->lua.socket_log_errors) return;
  MOONPHASE_LOG(
      ctx->r, kLogErr, 0, "attempt to %s data on a closed socket: u:%p, c:%p, ft:%d eof:%d", verb,
      static_cast<const void*>(s), s ? s->address() : nullptr, 0, s && s->connected() ? 1 : 0);
}

int receive_with(lua_State* L, int index, StreamSocket* s, Receiver::Mode mode, size_t size,
                 engine::UntilPattern* until) {
  MOONPHASE_LOG(s->request(), kLogDebug, 0, "lua tcp socket read timeout: %lld",
                static_cast<long long>(s->read_timeout));
  if (s->receive(mode, size, until) == kAgain) return wait_with(L, index, s->read_wait());
  return s->push_received(L);
}

// The checks that all reading calls share. Null: `*n` results are pushed.
StreamSocket* readable_socket(lua_State* L, LuaCtx* ctx, StreamSocket* s, bool log, int* n) {
  if (!s || s->read_closed()) {
    if (log) log_closed(ctx, s, "receive");
    *n = fail(L, "closed");
    return nullptr;
  }
  if (s->request() != ctx->r) luaL_error(L, "bad request");
  if (const char* why = busy(s, kBusyConnecting | kBusyReading)) {
    *n = fail(L, why);
    return nullptr;
  }
  return s;
}

}  // namespace

namespace socket {

int receive(lua_State* L) {
  int n = lua_gettop(L);
  if (n != 1 && n != 2)
    return luaL_error(L, "expecting 1 or 2 arguments (including the object), but got %d", n);
  LuaCtx* ctx = engine::check(L, engine::kCapCosocket);
  luaL_checktype(L, 1, LUA_TTABLE);
  StreamSocket* s = readable_socket(L, ctx, socket_of(L, 1), true, &n);
  if (!s) return n;
  if (n == 1) return receive_with(L, 1, s, Receiver::Mode::kLine, 0, nullptr);

  if (lua_isnumber(L, 2)) {
    const lua_Integer size = lua_tointeger(L, 2);
    if (size < 0) return luaL_argerror(L, 2, "bad number argument");
    if (size == 0) {
      lua_pushliteral(L, "");
      return 1;
    }
    return receive_with(L, 1, s, Receiver::Mode::kSize, static_cast<size_t>(size), nullptr);
  }
  if (!lua_isstring(L, 2)) return luaL_argerror(L, 2, "bad argument");
  size_t len;
  const char* pat = lua_tolstring(L, 2, &len);
  if (len == 2 && pat[0] == '*' && pat[1] == 'l')
    return receive_with(L, 1, s, Receiver::Mode::kLine, 0, nullptr);
  if (len == 2 && pat[0] == '*' && pat[1] == 'a')
    return receive_with(L, 1, s, Receiver::Mode::kAll, 0, nullptr);
  if (len == 2 && pat[0] == '*') return luaL_argerror(L, 2, "bad pattern argument");
  return luaL_argerror(L, 2, lua_pushfstring(L, "bad pattern argument: %s", pat));
}

int receiveany(lua_State* L) {
  int n = lua_gettop(L);
  if (n != 2) return luaL_error(L, "expecting 2 arguments (including the object), but got %d", n);
  LuaCtx* ctx = engine::check(L, engine::kCapCosocket);
  luaL_checktype(L, 1, LUA_TTABLE);
  StreamSocket* s = readable_socket(L, ctx, socket_of(L, 1), true, &n);
  if (!s) return n;
  if (!lua_isnumber(L, 2) || lua_tointeger(L, 2) <= 0)
    return luaL_argerror(L, 2, "bad max argument");
  MOONPHASE_LOG(ctx->r, kLogDebug, 0,
                "lua tcp socket calling receiveany() method to read at most %lld bytes",
                static_cast<long long>(lua_tointeger(L, 2)));
  return receive_with(L, 1, s, Receiver::Mode::kAny, static_cast<size_t>(lua_tointeger(L, 2)),
                      nullptr);
}

// The iterator's upvalues: the socket object, the pattern's text, the compiled pattern.
static int until_next(lua_State* L) {
  int n = lua_gettop(L);
  if (n > 1) return luaL_error(L, "expecting 0 or 1 argument, but seen %d", n);
  lua_Integer size = n >= 1 ? luaL_checkinteger(L, 1) : 0;
  if (size < 0) size = 0;
  LuaCtx* ctx = engine::check(L, engine::kCapCosocket);
  StreamSocket* s = readable_socket(L, ctx, socket_of(L, lua_upvalueindex(1)), false, &n);
  if (!s) return n;
  auto* until = static_cast<engine::UntilPattern*>(lua_touserdata(L, lua_upvalueindex(3)));
  if (until->finished) {
    until->finished = false;
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushnil(L);
    return 3;
  }
  return receive_with(L, lua_upvalueindex(1), s, Receiver::Mode::kUntil, static_cast<size_t>(size),
                      until);
}

int receiveuntil(lua_State* L) {
  const int n = lua_gettop(L);
  if (n != 2 && n != 3)
    return luaL_error(L, "expecting 2 or 3 arguments (including the object), but got %d", n);
  bool inclusive = false;
  if (n == 3) {
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_getfield(L, 3, "inclusive");
    if (lua_type(L, -1) == LUA_TBOOLEAN) {
      inclusive = lua_toboolean(L, -1);
    } else if (!lua_isnil(L, -1)) {
      return luaL_error(L, "bad \"inclusive\" option value type: %s", luaL_typename(L, -1));
    }
    lua_pop(L, 2);
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  size_t len;
  const char* pattern = luaL_checklstring(L, 2, &len);
  if (len == 0) return fail(L, "pattern is empty");
  new (lua_newuserdata(L, sizeof(engine::UntilPattern)))
      engine::UntilPattern({pattern, len}, inclusive);
  lua_pushlightuserdata(L, const_cast<char*>(kUntilMeta));
  lua_rawget(L, LUA_REGISTRYINDEX);
  lua_setmetatable(L, -2);
  lua_pushcclosure(L, until_next, 3);
  return 1;
}

// --- sending ---

int send(lua_State* L) {
  if (lua_gettop(L) != 2)
    return luaL_error(L, "expecting 2 arguments (including the object), but got %d", lua_gettop(L));
  LuaCtx* ctx = engine::check(L, engine::kCapCosocket);
  luaL_checktype(L, 1, LUA_TTABLE);
  StreamSocket* s = socket_of(L, 1);
  if (!s || s->write_closed()) {
    log_closed(ctx, s, "send");
    return fail(L, "closed");
  }
  if (s->request() != ctx->r) return luaL_error(L, "bad request");
  if (const char* why = busy(s, kBusyConnecting | kBusyWriting)) return fail(L, why);
  if (s->kind() == StreamSocket::Kind::kBody)
    return luaL_error(L, "attempt to write to request sockets");

  MOONPHASE_LOG(ctx->r, kLogDebug, 0, "lua tcp socket send timeout: %lld",
                static_cast<long long>(s->send_timeout));
  SendData data;
  if (const char* why = data.read(L, 2)) return luaL_argerror(L, 2, why);
  if (data.size() == 0) {
    data.release();
    lua_pushinteger(L, 0);
    return 1;
  }
  std::string* owned = data.owned();
  const Rc rc = s->send(data.bytes(), owned);
  data.release();
  if (rc == kAgain) return wait_with(L, 1, s->write_wait());
  return s->push_sent(L);
}

int close(lua_State* L) {
  if (lua_gettop(L) != 1)
    return luaL_error(L, "expecting 1 argument (including the object) but seen %d", lua_gettop(L));
  LuaCtx* ctx = engine::check(L, engine::kCapCosocket);
  luaL_checktype(L, 1, LUA_TTABLE);
  StreamSocket* s = socket_of(L, 1);
  if (!s || !s->address() || (s->read_closed() && s->write_closed() && !s->busy_connecting()))
    return fail(L, "closed");
  if (s->request() != ctx->r) return luaL_error(L, "bad request");
  if (const char* why = busy(s, kBusyConnecting | kBusyReading | kBusyWriting)) return fail(L, why);
  if (s->kind() != StreamSocket::Kind::kOwn) return fail(L, "attempt to close a request socket");
  s->close();
  s->leave_request();
  lua_pushinteger(L, 1);
  return 1;
}

static int bad_timeout(lua_State* L, int index, lua_Integer* ms) {
  *ms = static_cast<lua_Integer>(lua_tonumber(L, index));
  return (*ms >> 31) != 0;
}

static void store_timeouts(lua_State* L, lua_Integer connect_ms, lua_Integer send_ms,
                           lua_Integer read_ms) {
  lua_pushinteger(L, connect_ms);
  lua_rawseti(L, 1, kConnectTimeout);
  lua_pushinteger(L, send_ms);
  lua_rawseti(L, 1, kSendTimeout);
  lua_pushinteger(L, read_ms);
  lua_rawseti(L, 1, kReadTimeout);
  StreamSocket* s = socket_of(L, 1);
  if (!s || !s->request()) return;
  const engine::LuaLocConf& conf = engine::loc(s->request())->lua;
  s->connect_timeout = connect_ms > 0 ? connect_ms : conf.socket_connect_timeout;
  s->send_timeout = send_ms > 0 ? send_ms : conf.socket_send_timeout;
  s->read_timeout = read_ms > 0 ? read_ms : conf.socket_read_timeout;
}

int settimeout(lua_State* L) {
  if (lua_gettop(L) != 2)
    return luaL_error(
        L, "ngx.socket settimeout: expecting 2 arguments (including the object) but seen %d",
        lua_gettop(L));
  lua_Integer ms;
  if (bad_timeout(L, 2, &ms)) return luaL_error(L, "bad timeout value");
  store_timeouts(L, ms, ms, ms);
  return 0;
}

int getfd(lua_State* L) {
  if (lua_gettop(L) < 1)
    return luaL_error(L, "ngx.socket getfd: expecting the cosocket object, but seen none");
  if (!engine::request_of(L)) return luaL_error(L, "no request found");
  luaL_checktype(L, 1, LUA_TTABLE);
  const StreamSocket* s = socket_of(L, 1);
  if (!s || !s->connected()) return fail(L, "closed");
  if (s->fd() < 0) return fail(L, "faked connection");
  lua_pushinteger(L, s->fd());
  return 1;
}

int settimeouts(lua_State* L) {
  if (lua_gettop(L) != 4)
    return luaL_error(
        L, "ngx.socket settimeouts: expecting 4 arguments (including the object) but seen %d",
        lua_gettop(L));
  lua_Integer c, w, r;
  if (bad_timeout(L, 2, &c) || bad_timeout(L, 3, &w) || bad_timeout(L, 4, &r))
    return luaL_error(L, "bad timeout value");
  store_timeouts(L, c, w, r);
  return 0;
}

}  // namespace socket

static int until_gc(lua_State* L) {
  static_cast<engine::UntilPattern*>(lua_touserdata(L, 1))->~UntilPattern();
  return 0;
}

void gc_metatable(lua_State* L, const char* key, lua_CFunction gc) {
  lua_pushlightuserdata(L, const_cast<char*>(key));
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, gc);
  lua_setfield(L, -2, "__gc");
  // Lua code has no business with __gc: it would destroy what is in use.
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_rawset(L, LUA_REGISTRYINDEX);
}

static int socket_gc(lua_State* L) {
  static_cast<StreamSocket*>(lua_touserdata(L, 1))->~StreamSocket();
  return 0;
}

void set_socket_gc(lua_State* L) {
  lua_pushlightuserdata(L, const_cast<char*>(kGcMeta));
  lua_rawget(L, LUA_REGISTRYINDEX);
  lua_setmetatable(L, -2);
}

void open_socket_stream(lua_State* L) {
  gc_metatable(L, kUntilMeta, until_gc);
  gc_metatable(L, kGcMeta, socket_gc);
}

}  // namespace moonphase::ngx
