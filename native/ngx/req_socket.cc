// ngx.req.socket: the request's body, or (raw) the client's connection, as a socket.
#include "engine/sockets/req_socket.h"

#include <new>

#include "http/body.h"
#include "http/output.h"
#include "ngx/api.h"
#include "ngx/ffi.h"
#include "ngx/socket_stream.h"

namespace moonphase::ngx {

namespace {

// The names under which lua-resty-core finds the metatables in the registry.
const char kBodyMeta[] = "__tcp_req_cosocket_mt", kRawMeta[] = "__tcp_raw_req_cosocket_mt";

// Null: the connection is Lua's now.
const char* take_connection(LuaCtx* ctx) {
  Request* r = ctx->r;
  http::Connection* c = r->conn;
  if (c->hosted)
    return "the connection belongs to another HTTP server: only upgraded ones can be taken";
  if (!r->body) {
    r->body = r->pool->make<http::Body>();
    r->body->rest = 0;
  } else if (r->body->rest > 0) {
    return "pending request body reading in some other thread";
  }
  if (engine::lua_output_buffered(r)) return "pending data to write";
  if (c->output_pending() && !c->flush()) return "pending data to write";
  if (ctx->buffering) return "http 1.0 buffering";
  // Nobody else sends a header from now on.
  r->header_sent = true;
  ctx->header_sent = true;
  if (ctx->acquired_raw_req_socket) return "duplicate call";
  ctx->acquired_raw_req_socket = true;
  r->keepalive = false;
  r->lingering_close = true;
  return nullptr;
}

// Null: the body is Lua's now.
const char* take_body(Request* r) {
  if (r->body) return "request body already exists";
  if (r->discard_body) return "request body discarded";
  if (r->headers_in.content_length_n <= 0) return "no body";
  if (http::test_expect(r) != kOk) return "test expect failed";
  r->body = r->pool->make<http::Body>();
  r->body->rest = r->headers_in.content_length_n;
  return nullptr;
}

int req_socket(lua_State* L) {
  const int n = lua_gettop(L);
  if (n > 1) return luaL_error(L, "expecting 0 or 1 argument, but got %d", n);
  const bool raw = n == 1 && lua_toboolean(L, 1);
  lua_settop(L, 0);
  Request* r = engine::request_of(L);
  if (!r) return luaL_error(L, "no request found");
  if (!r->is_main()) return luaL_error(L, "attempt to read the request body in a subrequest");
  if (r->http_version == http::kVersion20) return luaL_error(L, "http v2 not supported yet");
  if (!raw && r->headers_in.chunked) return fail(L, "chunked request bodies not supported yet");
  LuaCtx* ctx = engine::ctx_of(r);
  if (!ctx) return luaL_error(L, "no ctx found");
  engine::check(L, engine::kCapRawSocket);
  if (const char* why = raw ? take_connection(ctx) : take_body(r)) return fail(L, why);

  lua_createtable(L, 2, 3);
  lua_getfield(L, LUA_REGISTRYINDEX, raw ? kRawMeta : kBodyMeta);
  lua_setmetatable(L, -2);
  new (lua_newuserdata(L, sizeof(engine::ReqSocket))) engine::ReqSocket(ctx, raw);
  set_socket_gc(L);
  lua_rawseti(L, 1, kCtx);
  return 1;
}

void add_metatable(lua_State* L, const char* name, const luaL_Reg* methods) {
  lua_createtable(L, 0, 8);
  luaL_register(L, nullptr, methods);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_setfield(L, LUA_REGISTRYINDEX, name);
}

}  // namespace

void open_req_socket(lua_State* L) {
  // The body's has no `send`.
  static const luaL_Reg kMethods[] = {
      {"send", socket::send},
      {"receive", socket::receive},
      {"receiveany", socket::receiveany},
      {"receiveuntil", socket::receiveuntil},
      {"settimeout", socket::settimeout},
      {"settimeouts", socket::settimeouts},
      {"getfd", socket::getfd},
      {nullptr, nullptr},
  };
  add_metatable(L, kBodyMeta, kMethods + 1);
  add_metatable(L, kRawMeta, kMethods);
  lua_getfield(L, -1, "req");
  lua_pushcfunction(L, req_socket);
  lua_setfield(L, -2, "socket");
  lua_pop(L, 1);
}

}  // namespace moonphase::ngx
