// ngx.arg: the arguments of set_by_lua, the chunk and the end mark of body_filter_by_lua.
#include <algorithm>

#include "engine/phases.h"
#include "ngx/api.h"
#include "ngx/ffi.h"
#include "ngx/text.h"

namespace moonphase::ngx {

namespace {

bool ends(const Buf* b) { return b->last_buf || b->last_in_chain; }

Chain* new_link(LuaCtx* ctx, Str bytes) {
  Chain* link = engine::lua_free_buf(ctx, bytes.size());
  Buf* b = link->buf;
  b->last = std::copy(bytes.begin(), bytes.end(), b->pos);
  b->tag = &engine::kLuaFilterTag;
  return link;
}

void mark_end(Request* r, Buf* b) { (r->is_main() ? b->last_buf : b->last_in_chain) = true; }

void set_end(Request* r, LuaCtx* ctx, bool last) {
  ctx->seen_last_in_filter = last;
  if (last) {
    // The chunk may have been dropped before.
    if (!ctx->filter_in) ctx->filter_in = new_link(ctx, Str());
    Chain* c = ctx->filter_in;
    while (c->next) c = c->next;
    mark_end(r, c->buf);
    return;
  }
  bool found = false;
  for (Chain* c = ctx->filter_in; c; c = c->next) {
    Buf* b = c->buf;
    found = found || ends(b);
    b->last_buf = b->last_in_chain = false;
    // A buffer without bytes or flags would be an error to the writer.
    if (found && b->last == b->pos && !b->in_memory()) b->sync = true;
  }
}

void set_chunk(Request* r, LuaCtx* ctx, Str bytes) {
  bool last = false, flush = false;
  for (Chain* c = ctx->filter_in; c; c = c->next) {
    last = last || ends(c->buf);
    flush = flush || c->buf->flush;
    c->buf->pos = c->buf->last;  // consumed
    c->buf->file_pos = c->buf->file_last;
  }
  Chain* chunk = bytes.empty() && !last && !flush ? nullptr : new_link(ctx, bytes);
  if (last) {
    ctx->seen_last_in_filter = true;
    mark_end(r, chunk->buf);
  }
  if (flush) chunk->buf->flush = true;
  ctx->filter_in = chunk;
}

int arg_newindex(lua_State* L) {
  Request* r = engine::request_of(L);
  if (!r) return 0;
  LuaCtx* ctx = engine::ctx_of(r);
  if (!ctx) return luaL_error(L, "ctx not found");
  engine::check(L, engine::kCapRespBody);
  int index = static_cast<int>(luaL_checkinteger(L, 2));
  if (index == 2) {
    set_end(r, ctx, lua_toboolean(L, 3));
    return 0;
  }
  if (index != 1) return luaL_error(L, "bad index: %d", index);
  switch (lua_type(L, 3)) {
    case LUA_TNIL:
      set_chunk(r, ctx, Str());
      break;
    case LUA_TSTRING:
    case LUA_TNUMBER:
      set_chunk(r, ctx, check_str(L, 3));
      break;
    case LUA_TTABLE: {
      std::string text;
      append_array(L, 3, 3, true, &text);
      set_chunk(r, ctx, text);
      break;
    }
    default:
      return luaL_error(L, "bad chunk data type: %s", luaL_typename(L, 3));
  }
  return 0;
}

// What Lua sees of the chunk ends with the buffer that ends the response.
template <class F>
void each_visible(const LuaCtx* ctx, F use) {
  for (Chain* c = ctx->filter_in; c; c = c->next) {
    use(c->buf->bytes());
    if (ends(c->buf)) break;
  }
}

}  // namespace

void open_arg(lua_State* L) {
  lua_newtable(L);
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, arg_newindex);
  lua_setfield(L, -2, "__newindex");
  lua_setmetatable(L, -2);
  lua_setfield(L, -2, "arg");
}

}  // namespace moonphase::ngx

using namespace moonphase;
using namespace moonphase::ngx;

MOONPHASE_FFI void ngx_http_lua_ffi_get_setby_param(Request* r, int idx, unsigned char** data_p,
                                                    size_t* len_p) {
  LuaCtx* ctx = engine::ctx_of(r);
  *len_p = 0;
  if (!ctx || !ctx->set_args || idx < 1 || idx > ctx->set_nargs) return;
  Str value = ctx->set_args[idx - 1];
  *data_p = mutable_bytes(value);
  *len_p = value.size();
}

MOONPHASE_FFI int ngx_http_lua_ffi_get_body_filter_param_eof(Request* r) {
  LuaCtx* ctx = engine::ctx_of(r);
  for (Chain* c = ctx ? ctx->filter_in : nullptr; c; c = c->next) {
    if (ends(c->buf)) return 1;
  }
  return 0;
}

// kAgain: several buffers, the caller makes room for *len_p bytes and has them copied.
MOONPHASE_FFI int ngx_http_lua_ffi_get_body_filter_param_body(Request* r, unsigned char** data_p,
                                                              size_t* len_p) {
  LuaCtx* ctx = engine::ctx_of(r);
  *len_p = 0;
  if (!ctx || !ctx->filter_in) return kOk;
  if (!ctx->filter_in->next) {
    Str bytes = ctx->filter_in->buf->bytes();
    *data_p = mutable_bytes(bytes);
    *len_p = bytes.size();
    return kOk;
  }
  each_visible(ctx, [&](Str bytes) { *len_p += bytes.size(); });
  return kAgain;
}

MOONPHASE_FFI int ngx_http_lua_ffi_copy_body_filter_param_body(Request* r, unsigned char* data) {
  each_visible(engine::ctx_of(r),
               [&](Str bytes) { data = std::copy(bytes.begin(), bytes.end(), data); });
  return kOk;
}
