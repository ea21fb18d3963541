// ngx.exec, ngx.redirect, ngx.on_abort, and ngx.exit's native half.
#include <cstdio>

#include "engine/phases.h"
#include "http/uri.h"
#include "ngx/api.h"
#include "ngx/args.h"
#include "ngx/ffi.h"

namespace moonphase::ngx {

namespace {

void check_abortable(lua_State* L, const LuaCtx* ctx) {
  if (ctx->no_abort) luaL_error(L, "attempt to abort with pending subrequests");
}

bool sent_header(const LuaCtx* ctx) { return ctx->r->header_sent || ctx->header_sent; }

// These end the coroutine by a yield that nobody resumes.
int leave(lua_State* L, LuaCtx* ctx) {
  if (!ctx->current || ctx->current->L != L || !lua_isyieldable(L)) {
    ctx->exited = false;
    ctx->exec_uri = Str();
    return engine::yield_error(L);
  }
  return lua_yield(L, 0);
}

Str exec_args(lua_State* L, Request* r) {
  switch (lua_type(L, 2)) {
    case LUA_TNONE:
    case LUA_TNIL:
      return {};
    case LUA_TNUMBER:
    case LUA_TSTRING:
      return r->pool->copy(check_str(L, 2));
    case LUA_TTABLE: {
      std::string text;
      append_args(L, 2, &text);
      return r->pool->copy(text);
    }
    default:
      luaL_argerror(
          L, 2,
          lua_pushfstring(L, "string, number, or table expected, but got %s", luaL_typename(L, 2)));
      return {};
  }
}

int exec(lua_State* L) {
  int nargs = lua_gettop(L);
  if (nargs != 1 && nargs != 2)
    return luaL_error(L, "expecting one or two arguments, but got %d", nargs);
  Request* r = engine::request_of(L);
  if (!r) return luaL_error(L, "no request object found");
  Str uri = check_str(L, 1);
  if (uri.empty()) return luaL_error(L, "The uri argument is empty");
  uri = r->pool->copy(uri);
  LuaCtx* ctx = engine::check(L, engine::kCapControl);
  check_abortable(L, ctx);
  Str args;
  unsigned flags = http::kLogUnsafe;
  if (http::parse_unsafe_uri(r, &uri, &args, &flags) != kOk) return luaL_error(L, "unsafe uri");
  Str more = exec_args(L, r);
  if (!more.empty()) args = args.empty() ? more : r->pool->join({args, "&", more});
  if (sent_header(ctx))
    return luaL_error(L, "attempt to call ngx.exec after sending out response headers");
  ctx->exec_uri = uri;
  ctx->exec_args = args;
  MOONPHASE_LOG(r, kLogDebug, 0, "lua exec \"%.*s?%.*s\"", STR(uri), STR(args));
  return leave(L, ctx);
}

// The first byte that may not stand in a Location header; -1: none.
int unsafe_byte(Str s) {
  for (unsigned char c : s)
    if ((c < 0x20 && c != '\t') || c == 0x7f) return c;
  return -1;
}

// For error messages: what is not printable as \xHH.
void push_escaped(lua_State* L, Str s) {
  luaL_Buffer out;
  luaL_buffinit(L, &out);
  for (unsigned char c : s) {
    if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\') {
      char hex[5];
      snprintf(hex, sizeof hex, "\\x%02X", c);
      luaL_addlstring(&out, hex, 4);
    } else {
      luaL_addchar(&out, static_cast<char>(c));
    }
  }
  luaL_pushresult(&out);
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

int redirect(lua_State* L) {
  int nargs = lua_gettop(L);
  if (nargs != 1 && nargs != 2) return luaL_error(L, "expecting one or two arguments");
  Str uri = check_str(L, 1);
  int status = nargs == 2 ? static_cast<int>(luaL_checknumber(L, 2)) : 302;
  if (!is_redirect(status))
    return luaL_error(
        L,
        "only ngx.HTTP_MOVED_TEMPORARILY, ngx.HTTP_MOVED_PERMANENTLY, ngx.HTTP_PERMANENT_REDIRECT, "
        "ngx.HTTP_SEE_OTHER, and ngx.HTTP_TEMPORARY_REDIRECT are allowed");
  Request* r = engine::request_of(L);
  if (!r) return luaL_error(L, "no request object found");
  LuaCtx* ctx = engine::check(L, engine::kCapControl);
  check_abortable(L, ctx);
  if (sent_header(ctx))
    return luaL_error(L, "attempt to call ngx.redirect after sending out the headers");
  if (int byte = unsafe_byte(uri); byte >= 0) {
    push_escaped(L, uri);
    char hex[8];
    snprintf(hex, sizeof hex, "0x%02x", static_cast<unsigned>(byte));
    return luaL_error(L, "unsafe byte \"%s\" in redirect uri \"%s\"", hex, lua_tostring(L, -1));
  }
  http::Header* h = r->headers_out.list.add(*r->pool, "Location", copy_z(*r->pool, uri));
  r->headers_out.status = status;
  ctx->exit_code = status;
  ctx->exited = true;
  MOONPHASE_LOG(r, kLogDebug, 0, "lua redirect to \"%.*s\" with code %d", STR(h->value), status);
  // A path of ours is sent as it was given, without a host in front.
  if (!uri.empty() && uri[0] != '/') r->headers_out.location = h;
  return leave(L, ctx);
}

int on_abort(lua_State* L) {
  Request* r = engine::request_of(L);
  if (!r) return luaL_error(L, "no request found");
  LuaCtx* ctx = engine::check(L, engine::kCapOnAbort);
  if (ctx->on_abort) {
    lua_pushnil(L);
    lua_pushliteral(L, "duplicate call");
    return 2;
  }
  if (!engine::loc(r)->lua.check_client_abort) {
    lua_pushnil(L);
    lua_pushliteral(L, "lua_check_client_abort is off");
    return 2;
  }
  luaL_argcheck(L, lua_isfunction(L, 1) && !lua_iscfunction(L, 1), 1, "Lua function expected");
  engine::check(L, engine::kCapYield);
  lua_pushvalue(L, 1);
  engine::Co* co = engine::new_coroutine(ctx, L, true);
  co->is_uthread = true;
  co->parent = ctx->current;
  if (co->parent) ++co->parent->threads;
  ctx->on_abort = co;
  lua_pushinteger(L, 1);
  return 1;
}

bool ends_anyway(int status) { return status == 408 || status == 499 || status == 444; }

}  // namespace

void open_control(lua_State* L) {
  constexpr luaL_Reg functions[] = {
      {"exec", exec}, {"redirect", redirect}, {"on_abort", on_abort}, {nullptr, nullptr}};
  set_functions(L, functions);
}

}  // namespace moonphase::ngx

using namespace moonphase;
using namespace moonphase::ngx;

// kOk: the caller yields; kDone: it just returns; kError with the text.
MOONPHASE_FFI int ngx_http_lua_ffi_exit(Request* r, int status, unsigned char* err,
                                        size_t* errlen) {
  if (status == kAgain || status == kDone)
    return ffi_error(err, errlen,
                     "bad argument to 'ngx.exit': does not accept NGX_AGAIN or NGX_DONE");
  LuaCtx* ctx = engine::ctx_of(r);
  if (!ctx) return ffi_error(err, errlen, "no request ctx found");
  if (engine::check_ffi(r, engine::kCapExit, reinterpret_cast<char*>(err), errlen) != kOk)
    return kError;

  constexpr uint32_t kHandshake = engine::kPhaseSslCert | engine::kPhaseSslClientHello |
                                  engine::kPhaseSslSessionStore | engine::kPhaseSslSessionFetch |
                                  engine::kPhaseProxySslCert | engine::kPhaseProxySslVerify;
  if (ctx->phase & kHandshake) {
    ctx->exit_code = status;
    ctx->exited = true;
    MOONPHASE_LOG(r, kLogDebug, 0, "lua exit with code %d", status);
    return ctx->phase == engine::kPhaseSslSessionStore ? kDone : kOk;
  }
  if (ctx->no_abort && status != kError && !ends_anyway(status))
    return ffi_error(err, errlen, "attempt to abort with pending subrequests");
  if (sent_header(ctx) && status >= 300 && !ends_anyway(status)) {
    if (status != r->headers_out.status)
      MOONPHASE_LOG(
          r, kLogErr, 0,
          "attempt to set status %d via ngx.exit after sending out the response status %d", status,
          r->headers_out.status);
    status = 200;
  }
  ctx->exit_code = status;
  ctx->exited = true;
  MOONPHASE_LOG(r, kLogDebug, 0, "lua exit with code %d", status);
  return ctx->phase & (engine::kPhaseHeaderFilter | engine::kPhaseBalancer) ? kDone : kOk;
}
