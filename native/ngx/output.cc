// ngx.say, ngx.print, ngx.flush, ngx.eof, ngx.send_headers.
#include <cmath>
#include <cstdio>

#include "engine/phases.h"
#include "engine/side_run.h"
#include "ngx/api.h"
#include "ngx/ffi.h"

namespace moonphase::ngx {

namespace {

constexpr int kNumberRoom = 32;

// As tostring() writes it, but for the sign of -0 and of what is not a number.
int format_number(char* p, double n) {
  if (n >= -2147483648.0 && n <= 2147483647.0) {
    auto i = static_cast<int>(n);
    if (i == n) {
      char digits[12];
      int count = 0;
      unsigned u = i < 0 ? 0u - static_cast<unsigned>(i) : static_cast<unsigned>(i);
      do digits[count++] = static_cast<char>('0' + u % 10);
      while (u /= 10);
      char* start = p;
      if (i < 0) *p++ = '-';
      while (count > 0) *p++ = digits[--count];
      return static_cast<int>(p - start);
    }
  }
  return snprintf(p, kNumberRoom, "%.14g", n);
}

char* put(char* p, Str s) {
  std::memcpy(p, s.data(), s.size());
  return p + s.size();
}

Str word(lua_State* L, int i, int type) {
  if (type == LUA_TNIL) return "nil";
  if (type == LUA_TBOOLEAN) return lua_toboolean(L, i) ? "true" : "false";
  return "null";
}

// The highest index of an array; raises where the table is none.
int array_size(lua_State* L, int i, int arg) {
  int max = 0;
  lua_pushnil(L);
  while (lua_next(L, i)) {
    double key = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
    if (key < 1 || std::floor(key) != key) luaL_argerror(L, arg, "non-array table found");
    if (key > max) max = static_cast<int>(key);
    lua_pop(L, 1);
  }
  return max;
}

size_t measure(lua_State* L, int i, int arg, bool nested);

size_t measure_table(lua_State* L, int i, int arg) {
  luaL_checkstack(L, 4, "table too deep");
  int n = array_size(L, i, arg);
  size_t size = 0;
  for (int k = 1; k <= n; ++k) {
    lua_rawgeti(L, i, k);
    size += measure(L, lua_gettop(L), arg, true);
    lua_pop(L, 1);
  }
  return size;
}

// The bytes that a value becomes; raises for what cannot be sent.
size_t measure(lua_State* L, int i, int arg, bool nested) {
  int type = lua_type(L, i);
  switch (type) {
    case LUA_TSTRING:
      return lua_objlen(L, i);
    case LUA_TNUMBER: {
      char text[kNumberRoom];
      return static_cast<size_t>(format_number(text, lua_tonumber(L, i)));
    }
    case LUA_TNIL:
    case LUA_TBOOLEAN:
      return word(L, i, type).size();
    case LUA_TTABLE:
      return measure_table(L, i, arg);
    case LUA_TLIGHTUSERDATA:
      return lua_touserdata(L, i) ? 0 : 4;
    default:
      break;
  }
  if (nested)
    luaL_argerror(L, arg, lua_pushfstring(L, "bad data type %s found", lua_typename(L, type)));
  luaL_argerror(
      L, arg,
      lua_pushfstring(L,
                      "string, number, boolean, nil, ngx.null, or array table expected, but got %s",
                      lua_typename(L, type)));
  return 0;
}

char* write(lua_State* L, int i, char* p) {
  int type = lua_type(L, i);
  switch (type) {
    case LUA_TSTRING: {
      size_t n;
      const char* s = lua_tolstring(L, i, &n);
      return put(p, Str(s, n));
    }
    case LUA_TNUMBER: {
      char text[kNumberRoom];
      int n = format_number(text, lua_tonumber(L, i));
      return put(p, Str(text, static_cast<size_t>(n)));
    }
    case LUA_TTABLE: {
      int n = array_size(L, i, i);
      for (int k = 1; k <= n; ++k) {
        lua_rawgeti(L, i, k);
        p = write(L, lua_gettop(L), p);
        lua_pop(L, 1);
      }
      return p;
    }
    case LUA_TLIGHTUSERDATA:
      if (lua_touserdata(L, i)) return p;
      break;
    default:
      break;
  }
  return put(p, word(L, i, type));
}

int refuse(lua_State* L, const char* why) {
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

int accept(lua_State* L) {
  lua_pushinteger(L, 1);
  return 1;
}

// Why nothing can be sent any more; null: it can.
const char* obstacle(const LuaCtx* ctx) {
  if (ctx->acquired_raw_req_socket) return "raw request socket acquired";
  if (ctx->r->header_only) return "header only";
  if (ctx->eof) return "seen eof";
  return nullptr;
}

// What was sent may wait in a filter: then we do, too.
int after_filter(lua_State* L, LuaCtx* ctx) {
  int result;
  return engine::wait_for_filter(L, ctx, &result) ? result : accept(L);
}

LuaCtx* check_output(lua_State* L) {
  if (!engine::request_of(L)) luaL_error(L, "no request object found");
  return engine::check(L, engine::kCapSendHeaders);
}

int echo(lua_State* L, bool newline) {
  LuaCtx* ctx = check_output(L);
  if (const char* why = obstacle(ctx)) return refuse(L, why);
  int nargs = lua_gettop(L);
  size_t size = newline;
  Str only;  // of one string, as most calls have it
  if (nargs == 1 && lua_type(L, 1) == LUA_TSTRING) {
    size_t n;
    const char* s = lua_tolstring(L, 1, &n);
    only = {s, n};
    size += n;
  } else {
    for (int i = 1; i <= nargs; ++i) size += measure(L, i, i, false);
  }
  if (size == 0) {
    int rc = engine::lua_send_header(ctx);
    return rc == kError || rc > kOk ? refuse(L, "nginx output filter error") : after_filter(L, ctx);
  }
  ctx->seen_body_data = true;
  Chain* link = engine::lua_free_buf(ctx, size);
  char* p = link->buf->last;
  if (only.data()) {
    p = put(p, only);
  } else {
    for (int i = 1; i <= nargs; ++i) p = write(L, i, p);
  }
  if (newline) *p++ = '\n';
  link->buf->last = p;
  MOONPHASE_LOG(ctx->r, kLogDebug, 0, newline ? "lua say response" : "lua print response");
  int rc = engine::lua_send_chain(ctx, link);
  if (rc == kError || rc >= 300) return refuse(L, "nginx output filter error");
  MOONPHASE_LOG(ctx->r, kLogDebug, 0, "%s has %sbusy bufs",
                newline ? "lua say response" : "lua print response",
                ctx->busy || ctx->parked ? "" : "no ");
  return after_filter(L, ctx);
}

int say(lua_State* L) { return echo(L, true); }
int print(lua_State* L) { return echo(L, false); }

int flush(lua_State* L) {
  int nargs = lua_gettop(L);
  if (nargs > 1) return luaL_error(L, "attempt to pass %d arguments, but accepted 0 or 1", nargs);
  Request* r = engine::request_of(L);
  if (!r) return luaL_error(L, "no request object found");
  bool wait = false;
  if (nargs == 1 && r->is_main()) {
    luaL_checktype(L, 1, LUA_TBOOLEAN);
    wait = lua_toboolean(L, 1);
  }
  LuaCtx* ctx = check_output(L);
  if (ctx->acquired_raw_req_socket) return refuse(L, "raw request socket acquired");
  if (!ctx->current) return luaL_error(L, "no co ctx found");
  if (const char* why = obstacle(ctx)) return refuse(L, why);
  if (ctx->buffering) {
    MOONPHASE_LOG(r, kLogDebug, 0, "lua http 1.0 buffering makes ngx.flush() a no-op");
    return refuse(L, "buffering");
  }
  if ((!r->header_sent && !ctx->header_sent) || (!ctx->seen_body_data && !wait))
    return refuse(L, "nothing to flush");
  Chain* link = engine::lua_free_buf(ctx, 0);
  link->buf->flush = true;
  int rc = engine::lua_send_chain(ctx, link);
  if (rc == kError || rc >= 300) return refuse(L, "nginx output filter error");
  if (wait && (engine::lua_output_buffered(r) || r->conn->write_delayed))
    return engine::lua_wait_flush(L, ctx);
  MOONPHASE_LOG(r, kLogDebug, 0, "lua flush asynchronously");
  return after_filter(L, ctx);
}

int eof(lua_State* L) {
  Request* r = engine::request_of(L);
  if (!r) return luaL_error(L, "no request object found");
  if (lua_gettop(L) != 0) return luaL_error(L, "no argument is expected");
  LuaCtx* ctx = engine::ctx_of(r);
  if (!ctx) return luaL_error(L, "no ctx found");
  if (ctx->acquired_raw_req_socket) return refuse(L, "raw request socket acquired");
  if (ctx->eof) return refuse(L, "seen eof");
  check_output(L);
  MOONPHASE_LOG(r, kLogDebug, 0, "lua send eof");
  int rc = engine::lua_send_chain(ctx, nullptr);
  return rc == kError || rc >= 300 ? refuse(L, "nginx output filter error") : after_filter(L, ctx);
}

int send_headers(lua_State* L) {
  LuaCtx* ctx = check_output(L);
  MOONPHASE_LOG(ctx->r, kLogDebug, 0, "lua send headers");
  int rc = engine::lua_send_header(ctx);
  return rc == kError || rc > kOk ? refuse(L, "nginx output filter error") : after_filter(L, ctx);
}

}  // namespace

void open_output(lua_State* L) {
  constexpr luaL_Reg functions[] = {{"say", say},
                                    {"print", print},
                                    {"flush", flush},
                                    {"eof", eof},
                                    {"send_headers", send_headers},
                                    {nullptr, nullptr}};
  set_functions(L, functions);
}

}  // namespace moonphase::ngx
