#include "ngx/spare_sockets.h"

#include <new>

#include "ngx/socket_stream.h"

namespace moonphase::ngx {

using engine::CoSocket;

namespace {

const char kSpares[] = "moonphase.spare_sockets";

// A userdata in the registry. Its environment holds the spare ones at 1 … count, at 0 the one that
// stands in for them.
struct Spares {
  static constexpr int kMost = 64;
  int count = 0;
};

Spares* push_spares(lua_State* L) {
  lua_pushlightuserdata(L, const_cast<char*>(kSpares));
  lua_rawget(L, LUA_REGISTRYINDEX);
  auto* spares = static_cast<Spares*>(lua_touserdata(L, -1));
  lua_getfenv(L, -1);
  lua_remove(L, -2);
  return spares;
}

CoSocket* push_socket(lua_State* L, engine::LuaCtx* ctx) {
  auto* s = new (lua_newuserdata(L, sizeof(CoSocket))) CoSocket(ctx->r, ctx->gen);
  set_socket_gc(L);
  return s;
}

}  // namespace

CoSocket* place_socket(lua_State* L, engine::LuaCtx* ctx) {
  Spares* spares = push_spares(L);
  CoSocket* s;
  if (spares->count) {
    lua_rawgeti(L, -1, spares->count);
    s = static_cast<CoSocket*>(lua_touserdata(L, -1));
    lua_pushnil(L);
    lua_rawseti(L, -3, spares->count--);
    // Nothing of its last life is left.
    s->~CoSocket();
    new (s) CoSocket(ctx->r, ctx->gen);
  } else {
    s = push_socket(L, ctx);
  }
  lua_rawseti(L, 1, kCtx);
  lua_pop(L, 1);
  return s;
}

void spare_socket(lua_State* L, engine::LuaCtx* ctx) {
  Spares* spares = push_spares(L);
  if (spares->count < Spares::kMost) {
    lua_rawgeti(L, -1, 0);
    if (lua_isnil(L, -1)) {
      lua_pop(L, 1);
      CoSocket* s = push_socket(L, ctx);
      s->stands_in = true;
      s->leave_request();
      lua_pushvalue(L, -1);
      lua_rawseti(L, -3, 0);
    }
    socket_of(L, 1)->retire();
    lua_rawgeti(L, 1, kCtx);
    lua_rawseti(L, -3, ++spares->count);
    lua_rawseti(L, 1, kCtx);
  }
  lua_pop(L, 1);
}

void open_spare_sockets(lua_State* L) {
  lua_pushlightuserdata(L, const_cast<char*>(kSpares));
  new (lua_newuserdata(L, sizeof(Spares))) Spares;
  lua_createtable(L, Spares::kMost, 0);
  lua_setfenv(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

}  // namespace moonphase::ngx
