// ngx.get_phase and ngx.ctx: what lua-resty-core asks for.
#include "engine/handshake.h"
#include "engine/phases.h"
#include "ngx/api.h"
#include "ngx/ffi.h"

namespace moonphase::ngx {

namespace {

int raw_phase(lua_State* L) {
  Request* r = engine::request_of(L);
  LuaCtx* ctx = r ? engine::ctx_of(r) : nullptr;
  if (!ctx) return 0;
  lua_pushinteger(L, static_cast<lua_Integer>(ctx->phase));
  return 1;
}

}  // namespace

void open_phase(lua_State* L) {
  lua_pushcfunction(L, raw_phase);
  lua_setfield(L, -2, "_phase_ctx");
}

}  // namespace moonphase::ngx

using namespace moonphase;
using namespace moonphase::ngx;

MOONPHASE_FFI int ngx_http_lua_ffi_get_phase(Request* r, char** err) {
  LuaCtx* ctx = engine::ctx_of(r);
  if (!ctx) return ffi_error(err, "no request context");
  return static_cast<int>(ctx->phase);
}

MOONPHASE_FFI int ngx_http_lua_ffi_get_ctx_ref(Request* r, int* in_ssl_phase, int* ssl_ctx_ref) {
  LuaCtx* ctx = engine::ctx_of(r);
  if (!ctx) return ngx::kNoReqCtx;
  if (ctx->ctx_ref >= 0 || !in_ssl_phase) return ctx->ctx_ref;
  constexpr uint32_t kSslPhases = engine::kPhaseSslCert | engine::kPhaseSslClientHello |
                                  engine::kPhaseSslSessionFetch | engine::kPhaseSslSessionStore;
  *in_ssl_phase = static_cast<int>(ctx->phase & kSslPhases);
  const engine::Handshake* h = engine::handshake_of(r);
  *ssl_ctx_ref = h && h->gen == ctx->gen ? h->ctx_ref : LUA_NOREF;
  return LUA_NOREF;
}

MOONPHASE_FFI int ngx_http_lua_ffi_set_ctx_ref(Request* r, int ref) {
  LuaCtx* ctx = engine::ctx_of(r);
  if (!ctx) return ngx::kNoReqCtx;
  constexpr uint32_t kSslPhases = engine::kPhaseSslCert | engine::kPhaseSslClientHello |
                                  engine::kPhaseSslSessionFetch | engine::kPhaseSslSessionStore;
  // It lives as long as the connection.
  engine::Handshake* h = ctx->phase & kSslPhases ? engine::handshake_of(r) : nullptr;
  (h ? h->ctx_ref : ctx->ctx_ref) = ref;
  return kOk;
}
