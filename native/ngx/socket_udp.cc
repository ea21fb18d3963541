// ngx.socket.udp: argument checks and messages of lua-nginx-module around engine::UdpSocket.
#include <new>

#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/sockets/udp_socket.h"
#include "ngx/api.h"
#include "ngx/socket_data.h"
#include "ngx/socket_local.h"
#include "ngx/socket_stream.h"

namespace moonphase::ngx {

namespace {

using engine::LuaCtx;
using engine::UdpSocket;

enum Slot : int { kCtx = 1, kTimeout = 2, kBind = 3 };

const char kMeta[] = "moonphase.udp", kGcMeta[] = "moonphase.udp.gc";

UdpSocket* socket_of(lua_State* L) {
  lua_rawgeti(L, 1, kCtx);
  auto* s = static_cast<UdpSocket*>(lua_touserdata(L, -1));
  if (s && (lua_objlen(L, -1) != sizeof(UdpSocket) || !UdpSocket::genuine(s)))
    luaL_error(L, "%s", kNotItsOwn);
  lua_pop(L, 1);
  return s;
}

int fail(lua_State* L, const char* why) {
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

void set_metatable(lua_State* L, const char* key) {
  lua_pushlightuserdata(L, const_cast<char*>(key));
  lua_rawget(L, LUA_REGISTRYINDEX);
  lua_setmetatable(L, -2);
}

int udp(lua_State* L) {
  if (lua_gettop(L) != 0)
    return luaL_error(L, "expecting zero arguments, but got %d", lua_gettop(L));
  engine::check(L, engine::kCapCosocket);
  lua_createtable(L, 3, 1);
  set_metatable(L, kMeta);
  return 1;
}

// The socket, open and this request's. Null: `*n` results are pushed.
UdpSocket* open_socket(lua_State* L, const char* verb, int* n) {
  http::Request* r = engine::request_of(L);
  if (!r) luaL_error(L, "no request found");
  luaL_checktype(L, 1, LUA_TTABLE);
  UdpSocket* s = socket_of(L);
  if (!s || !s->open()) {
    if (verb && engine::loc(r)->lua.socket_log_errors)
      MOONPHASE_LOG(r, kLogErr, 0, "attempt to %s data on a closed socket: u:%p, c:%p", verb,
                    static_cast<const void*>(s), static_cast<const void*>(nullptr));
    *n = fail(L, "closed");
    return nullptr;
  }
  if (s->request() != r) luaL_error(L, "bad request");
  if (s->busy()) {
    *n = fail(L, "socket busy");
    return nullptr;
  }
  return s;
}

int setpeername(lua_State* L) {
  const int n = lua_gettop(L);
  if (n != 2 && n != 3)
    return luaL_error(L,
                      "ngx.socket.udp setpeername: expecting 2 or 3 arguments (including the "
                      "object), but seen %d",
                      n);
  LuaCtx* ctx = engine::check(L, engine::kCapCosocket);
  luaL_checktype(L, 1, LUA_TTABLE);
  size_t len;
  const char* host = luaL_checklstring(L, 2, &len);
  int port = 0;
  if (n == 3) {
    port = static_cast<int>(luaL_checkinteger(L, 3));
    if (port < 0 || port > 65535) {
      lua_pushnil(L);
      lua_pushfstring(L, "bad port number: %d", port);
      return 2;
    }
  }
  UdpSocket* s = socket_of(L);
  if (s) {
    if (s->request() && s->request() != ctx->r) return luaL_error(L, "bad request");
    if (s->busy()) return fail(L, "socket busy");
    if (s->open())
      MOONPHASE_LOG(ctx->r, kLogDebug, 0, "lua udp socket reconnect without shutting down");
    s->reset(ctx->r);
    MOONPHASE_LOG(ctx->r, kLogDebug, 0, "lua reuse socket upstream ctx");
  } else {
    s = new (lua_newuserdata(L, sizeof(UdpSocket))) UdpSocket(ctx->r, ctx->gen);
    set_metatable(L, kGcMeta);
    lua_rawseti(L, 1, kCtx);
  }
  lua_rawgeti(L, 1, kTimeout);
  const int64_t ms = lua_tointeger(L, -1);
  s->read_timeout = ms > 0 ? ms : engine::loc(ctx->r)->lua.socket_read_timeout;
  lua_rawgeti(L, 1, kBind);
  const auto* local = local_address(L, -1);
  lua_pop(L, 2);
  if (s->set_peer({host, len}, port, local ? &local->addr : nullptr, local ? local->len : 0) ==
      kAgain)
    return wait_with(L, 1, s->pending());
  return s->push_peer(L);
}

int bind(lua_State* L) {
  if (lua_gettop(L) != 2) return luaL_error(L, "expecting 2 arguments, but got %d", lua_gettop(L));
  LuaCtx* ctx = engine::check(L, engine::kCapCosocket);
  luaL_checktype(L, 1, LUA_TTABLE);
  if (!push_local_address(L, luaL_checkstring(L, 2), 0)) return fail(L, "bad address");
  lua_rawseti(L, 1, kBind);
  MOONPHASE_LOG(ctx->r, kLogDebug, 0, "lua udp socket bind ip: %s", lua_tostring(L, 2));
  lua_pushinteger(L, 1);
  return 1;
}

int send(lua_State* L) {
  int n = lua_gettop(L);
  if (n != 2) return luaL_error(L, "expecting 2 arguments (including the object), but got %d", n);
  UdpSocket* s = open_socket(L, "send", &n);
  if (!s) return n;
  SendData data;
  if (const char* why = data.read(L, 2)) return luaL_argerror(L, 2, why);
  n = s->send(L, data.bytes());
  data.release();
  return n;
}

int receive(lua_State* L) {
  int n = lua_gettop(L);
  if (n != 1 && n != 2)
    return luaL_error(L, "expecting 1 or 2 arguments (including the object), but got %d", n);
  UdpSocket* s = open_socket(L, "receive", &n);
  if (!s) return n;
  http::Request* r = s->request();
  const lua_Number wanted = luaL_optnumber(L, 2, UdpSocket::kMaxDatagram);
  const size_t size = wanted >= 0 && wanted < UdpSocket::kMaxDatagram ? static_cast<size_t>(wanted)
                                                                      : UdpSocket::kMaxDatagram;
  MOONPHASE_LOG(r, kLogDebug, 0, "lua udp socket read timeout: %lld",
                static_cast<long long>(s->read_timeout));
  MOONPHASE_LOG(r, kLogDebug, 0, "lua udp socket receive buffer size: %zu", size);
  if (s->receive(size) == kAgain) return wait_with(L, 1, s->pending());
  return s->push_received(L);
}

int settimeout(lua_State* L) {
  if (lua_gettop(L) != 2)
    return luaL_error(
        L,
        "ngx.socket settimeout: expecting at least 2 arguments (including the object) but seen %d",
        lua_gettop(L));
  const auto ms = static_cast<int64_t>(lua_tonumber(L, 2));
  lua_rawseti(L, 1, kTimeout);
  UdpSocket* s = socket_of(L);
  if (s && s->request())
    s->read_timeout = ms > 0 ? ms : engine::loc(s->request())->lua.socket_read_timeout;
  return 0;
}

int close(lua_State* L) {
  int n = lua_gettop(L);
  if (n != 1) return luaL_error(L, "expecting 1 argument (including the object) but seen %d", n);
  UdpSocket* s = open_socket(L, nullptr, &n);
  if (!s) return n;
  s->close();
  s->leave_request();
  lua_pushinteger(L, 1);
  return 1;
}

int gc(lua_State* L) {
  static_cast<UdpSocket*>(lua_touserdata(L, 1))->~UdpSocket();
  return 0;
}

}  // namespace

void open_socket_udp(lua_State* L) {
  static const luaL_Reg kMethods[] = {
      {"setpeername", setpeername}, {"send", send},   {"receive", receive},
      {"settimeout", settimeout},   {"close", close}, {"bind", bind},
      {nullptr, nullptr},
  };
  lua_pushlightuserdata(L, const_cast<char*>(kMeta));
  lua_createtable(L, 0, 8);
  luaL_register(L, nullptr, kMethods);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_rawset(L, LUA_REGISTRYINDEX);

  gc_metatable(L, kGcMeta, gc);

  lua_getfield(L, -1, "socket");
  lua_pushcfunction(L, udp);
  lua_setfield(L, -2, "udp");
  lua_pop(L, 1);
}

}  // namespace moonphase::ngx
