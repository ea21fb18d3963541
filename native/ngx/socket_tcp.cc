// ngx.socket.tcp/stream/connect: argument checks and messages of lua-nginx-module around
// engine::CoSocket.
#include <cstring>

#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/sockets/cosocket.h"
#include "ngx/api.h"
#include "ngx/socket_local.h"
#include "ngx/socket_stream.h"
#include "ngx/spare_sockets.h"

namespace moonphase::ngx {
namespace {

using engine::CoSocket;
using engine::LuaCtx;

const char kSocketMeta[] = "moonphase.cosocket";

int64_t slot_integer(lua_State* L, int slot) {
  lua_rawgeti(L, 1, slot);
  const int64_t v = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return v;
}

CoSocket* own_socket(lua_State* L) {
  engine::StreamSocket* s = socket_of(L, 1);
  if (s && s->kind() != engine::StreamSocket::Kind::kOwn)
    luaL_error(L, "not supported for downstream sockets");
  return static_cast<CoSocket*>(s);
}

int tcp(lua_State* L) {
  if (lua_gettop(L) != 0)
    return luaL_error(L, "expecting zero arguments, but got %d", lua_gettop(L));
  engine::check(L, engine::kCapCosocket);
  lua_createtable(L, 7, 1);
  lua_pushlightuserdata(L, const_cast<char*>(kSocketMeta));
  lua_rawget(L, LUA_REGISTRYINDEX);
  lua_setmetatable(L, -2);
  return 1;
}

// pool_size, backlog, pool of connect()'s option table at index n. True: `pool` was given and is in
// slot kKey.
bool connect_options(lua_State* L, int n, int default_size, int* pool_size, int* backlog) {
  lua_getfield(L, n, "pool_size");
  if (lua_isnumber(L, -1)) {
    *pool_size = static_cast<int>(lua_tointeger(L, -1));
    if (*pool_size <= 0)
      luaL_argerror(L, n, lua_pushfstring(L, "bad \"pool_size\" option value: %d", *pool_size));
  } else if (!lua_isnil(L, -1)) {
    luaL_argerror(L, n,
                  lua_pushfstring(L, "bad \"pool_size\" option type: %s", luaL_typename(L, -1)));
  }
  lua_pop(L, 1);

  lua_getfield(L, n, "backlog");
  if (lua_isnumber(L, -1)) {
    *backlog = static_cast<int>(lua_tointeger(L, -1));
    if (*backlog < 0)
      luaL_argerror(L, n, lua_pushfstring(L, "bad \"backlog\" option value: %d", *backlog));
    if (*pool_size == 0) *pool_size = default_size;
  }
  lua_pop(L, 1);

  lua_getfield(L, n, "pool");
  const int type = lua_type(L, -1);
  if (type == LUA_TNUMBER || type == LUA_TSTRING) {
    lua_tostring(L, -1);
    lua_rawseti(L, 1, kKey);
    return true;
  }
  if (type != LUA_TNIL)
    luaL_argerror(L, n, lua_pushfstring(L, "bad \"pool\" option type: %s", luaL_typename(L, -1)));
  lua_pop(L, 1);
  return false;
}

CoSocket* fresh_socket(lua_State* L, LuaCtx* ctx) {
  CoSocket* s = own_socket(L);
  if (!s || s->stands_in) return place_socket(L, ctx);
  s->reset(ctx->r);
  return s;
}

engine::SocketPool* make_pool(LuaCtx* ctx, Str key, int size, int backlog) {
  MOONPHASE_LOG(ctx->r, kLogDebug, 0, "lua tcp socket connection pool size: %d, backlog: %d", size,
                backlog);
  MOONPHASE_LOG(ctx->r, kLogDebug, 0,
                "lua tcp socket keepalive create connection pool for key \"%.*s\"", STR(key));
  return engine::socket_pools(ctx->gen, ctx->vm).make(key, size, backlog);
}

int connect(lua_State* L) {
  int n = lua_gettop(L);
  if (n < 2 || n > 4)
    return luaL_error(
        L, "ngx.socket connect: expecting 2, 3, or 4 arguments (including the object), but seen %d",
        n);
  LuaCtx* ctx = engine::check(L, engine::kCapCosocket);
  luaL_checktype(L, 1, LUA_TTABLE);
  size_t len;
  const char* host = luaL_checklstring(L, 2, &len);
  const engine::LuaLocConf& conf = engine::loc(ctx->r)->lua;

  int pool_size = 0, backlog = -1;
  bool named_pool = false;
  if (lua_type(L, n) == LUA_TTABLE)
    named_pool = connect_options(L, n--, conf.socket_pool_size, &pool_size, &backlog);

  int port = 0;
  if (n >= 3 && lua_isnumber(L, 3)) {
    port = static_cast<int>(lua_tointeger(L, 3));
    if (port < 0 || port > 65535) {
      lua_pushnil(L);
      lua_pushfstring(L, "bad port number: %d", port);
      return 2;
    }
    if (!named_pool) {
      lua_pushvalue(L, 2);
      lua_pushliteral(L, ":");
      lua_pushvalue(L, 3);
      lua_concat(L, 3);
      lua_rawseti(L, 1, kKey);
    }
  } else if (len >= 5 && strncasecmp(host, "unix:", 5) == 0) {
    if (!named_pool) {
      lua_pushvalue(L, 2);
      lua_rawseti(L, 1, kKey);
    }
  } else {
    return fail(L, "missing the port number");
  }

  CoSocket* s = own_socket(L);
  if (s) {
    if (s->request() && s->request() != ctx->r) return luaL_error(L, "bad request");
    if (const char* why = busy(s, kBusyConnecting | kBusyReading | kBusyWriting))
      return fail(L, why);
  }
  const bool reuse = s != nullptr;
  if (reuse && s->connected())
    MOONPHASE_LOG(ctx->r, kLogDebug, 0, "lua tcp socket reconnect without shutting down");
  s = fresh_socket(L, ctx);
  if (reuse) MOONPHASE_LOG(ctx->r, kLogDebug, 0, "lua reuse socket upstream ctx");

  auto timeout = [&](int slot, int64_t fallback) {
    const int64_t ms = slot_integer(L, slot);
    return ms > 0 ? ms : fallback;
  };
  s->connect_timeout = timeout(kConnectTimeout, conf.socket_connect_timeout);
  s->send_timeout = timeout(kSendTimeout, conf.socket_send_timeout);
  s->read_timeout = timeout(kReadTimeout, conf.socket_read_timeout);

  lua_rawgeti(L, 1, kBind);
  auto* local = static_cast<LocalAddress*>(lua_touserdata(L, -1));
  lua_rawgeti(L, 1, kTransparent);
  const bool transparent = lua_toboolean(L, -1);
  lua_rawgeti(L, 1, kKey);
  size_t key_len;
  const char* key = lua_tolstring(L, -1, &key_len);
  engine::SocketPools& pools = engine::socket_pools(ctx->gen, ctx->vm);
  engine::SocketPool* pool = pools.find({key, key_len});
  // A pool exists from the first setkeepalive on, unless connect() sizes it.
  if (!pool && pool_size > 0) pool = make_pool(ctx, {key, key_len}, pool_size, backlog);
  lua_pop(L, 3);

  if (s->connect({host, len}, port, pool, local ? &local->addr : nullptr, local ? local->len : 0,
                 transparent) == kAgain)
    return engine::wait(L, s->connect_wait());
  return s->push_connected(L);
}

int bind(lua_State* L) {
  const int n = lua_gettop(L);
  if (n != 2 && n != 3) return luaL_error(L, "expecting 2 or 3 arguments, but got %d", n);
  LuaCtx* ctx = engine::check(L, engine::kCapCosocket);
  luaL_checktype(L, 1, LUA_TTABLE);
  int port = 0;
  if (n == 3) {
    if (!lua_isnumber(L, 3)) {
      lua_pushnil(L);
      lua_pushfstring(L, "expecting port to be anumber but got type: %s", luaL_typename(L, 3));
      return 2;
    }
    port = static_cast<int>(lua_tointeger(L, 3));
    if (port < 0 || port > 65535) {
      lua_pushnil(L);
      lua_pushfstring(L, "bad port number: %d", port);
      return 2;
    }
  }
  const char* text = luaL_checkstring(L, 2);
  if (!push_local_address(L, text, port)) return fail(L, "bad address");
  lua_rawseti(L, 1, kBind);
  MOONPHASE_LOG(ctx->r, kLogDebug, 0, "lua tcp socket bind ip: %s", text);
  lua_pushboolean(L, 1);
  return 1;
}

int getreusedtimes(lua_State* L) {
  if (lua_gettop(L) != 1)
    return luaL_error(L, "expecting 1 argument (including the object), but got %d", lua_gettop(L));
  luaL_checktype(L, 1, LUA_TTABLE);
  CoSocket* s = own_socket(L);
  if (!s || !s->connected() || (s->read_closed() && s->write_closed())) return fail(L, "closed");
  lua_pushinteger(L, s->reused());
  return 1;
}

int setkeepalive(lua_State* L) {
  const int n = lua_gettop(L);
  if (n < 1 || n > 3)
    return luaL_error(L, "expecting 1 to 3 arguments (including the object), but got %d", n);
  luaL_checktype(L, 1, LUA_TTABLE);
  LuaCtx* ctx = engine::check(L, engine::kCapCosocket);
  const engine::LuaLocConf& conf = engine::loc(ctx->r)->lua;
  // Arguments first: an error must not leave a half-kept connection.
  const int64_t keep_ms =
      n >= 2 && !lua_isnil(L, 2) ? luaL_checkinteger(L, 2) : conf.socket_keepalive_timeout;
  const int pool_size = n >= 3 && !lua_isnil(L, 3) ? static_cast<int>(luaL_checkinteger(L, 3))
                                                   : conf.socket_pool_size;

  CoSocket* s = own_socket(L);
  if (!s || s->read_closed() || s->write_closed()) return fail(L, "closed");
  if (s->request() != ctx->r) return luaL_error(L, "bad request");
  if (const char* why = busy(s, kBusyConnecting | kBusyReading | kBusyWriting)) return fail(L, why);
  if (s->unread()) return fail(L, "unread data in buffer");
  if (const char* why = s->unfit_for_pool()) return fail(L, why);

  lua_rawgeti(L, 1, kKey);
  size_t len;
  const char* key = lua_tolstring(L, -1, &len);
  if (!key) return fail(L, "key not found");
  engine::SocketPool* pool = s->pool();
  if (!pool || Str(pool->key()) != Str(key, len))
    pool = engine::socket_pools(ctx->gen, ctx->vm).find({key, len});
  if (!pool) {
    if (pool_size <= 0)
      return luaL_argerror(L, n,
                           lua_pushfstring(L, "bad \"pool_size\" option value: %d", pool_size));
    pool = make_pool(ctx, {key, len}, pool_size, -1);
  }
  s->keepalive(pool, keep_ms);
  s->leave_request();
  if (!s->has_tls_state()) spare_socket(L, ctx);
  lua_pushinteger(L, 1);
  return 1;
}

}  // namespace

// `ngx` is on the top.
void open_socket_tcp(lua_State* L) {
  static const luaL_Reg kMethods[] = {
      {"bind", bind},
      {"connect", connect},
      {"receive", socket::receive},
      {"receiveany", socket::receiveany},
      {"receiveuntil", socket::receiveuntil},
      {"send", socket::send},
      {"close", socket::close},
      {"settimeout", socket::settimeout},
      {"settimeouts", socket::settimeouts},
      {"getreusedtimes", getreusedtimes},
      {"setkeepalive", setkeepalive},
      {"getfd", socket::getfd},
      {nullptr, nullptr},
  };
  open_socket_stream(L);
  open_spare_sockets(L);

  lua_pushlightuserdata(L, const_cast<char*>(kSocketMeta));
  lua_createtable(L, 0, 16);
  luaL_register(L, nullptr, kMethods);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  // lua-resty-core finds the metatable under this name and adds its methods.
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, "__tcp_cosocket_mt");
  lua_rawset(L, LUA_REGISTRYINDEX);

  lua_getfield(L, -1, "socket");
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_createtable(L, 0, 5);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "socket");
  }
  lua_pushcfunction(L, tcp);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "tcp");
  lua_setfield(L, -2, "stream");
  // ngx.socket.connect(...): a new socket, connected.
  static const char kConnect[] =
      "local tcp = ... "
      "return function (...) "
      "local sock = tcp() local ok, err = sock:connect(...) "
      "if ok then return sock else return nil, err end end";
  if (luaL_loadbuffer(L, kConnect, sizeof kConnect - 1, "=ngx.socket") != 0) lua_error(L);
  lua_getfield(L, -2, "tcp");
  lua_call(L, 1, 1);
  lua_setfield(L, -2, "connect");
  lua_pop(L, 1);
}

}  // namespace moonphase::ngx
