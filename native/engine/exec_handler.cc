// From a Handler of the Plan to its function on the VM's stack.
#include <cerrno>

#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"
#include "lua/call.h"
#include "lua/chunks.h"

namespace moonphase::engine {

namespace {

char cache_key;  // registry: code by file path, or by Handler

void push_cache(lua_State* L) {
  lua_pushlightuserdata(L, &cache_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (lua_istable(L, -1)) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushlightuserdata(L, &cache_key);
  lua_pushvalue(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

int load_inline(LuaCtx* ctx, lua_State* L, const Handler* h) {
  if (lua::load_source(L, h->source, h->chunk.c_str()) == 0) return kOk;
  Str message = lua::error_text(L, "unknown error");
  MOONPHASE_LOG(ctx->r, kLogErr, 0, "failed to load inlined Lua code: %.*s", STR(message));
  lua_pop(L, 1);
  return kError;
}

int load_js(LuaCtx* ctx, lua_State* L, const Handler* h) {
  if (push_js_handler(L, *ctx->gen->plan, h->js) == 0) return kOk;
  Str message = lua::error_text(L, "unknown error");
  MOONPHASE_LOG(ctx->r, kLogErr, 0, "failed to load a JavaScript handler: %.*s", STR(message));
  lua_pop(L, 1);
  return kError;
}

int load_external(LuaCtx* ctx, lua_State* L, const char* path) {
  int status = lua::load_file(L, path);
  if (status == 0) return kOk;
  int code = status != LUA_ERRFILE ? kError : errno == ENOENT ? 404 : 503;
  Str message = lua::error_text(L, "unknown error");
  MOONPHASE_LOG(ctx->r, kLogErr, 0, "failed to load external Lua file \"%s\": %.*s", path,
                STR(message));
  lua_pop(L, 1);
  return code;
}

const char* full_path(LuaCtx* ctx, Str path) {
  Arena& a = *ctx->r->pool;
  if (!path.empty() && path[0] == '/') return a.c_str(path);
  return a.c_str(a.join({ctx->gen->plan->prefix, path}));
}

}  // namespace

int push_handler(LuaCtx* ctx, const Handler* h) {
  lua_State* L = ctx->L();
  bool stays = ctx->vm == ctx->gen->vm && (h->kind != Handler::kFile || h->file.literal());
  if (stays && h->ref >= 0) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->ref);
    return kOk;
  }
  const char* path = h->kind == Handler::kFile ? full_path(ctx, eval(ctx->r, h->file)) : nullptr;
  push_cache(L);
  if (path) {
    lua_pushstring(L, path);
  } else {
    lua_pushlightuserdata(L, const_cast<Handler*>(h));
  }
  lua_pushvalue(L, -1);
  lua_rawget(L, -3);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    int rc = path                      ? load_external(ctx, L, path)
             : h->kind == Handler::kJs ? load_js(ctx, L, h)
                                       : load_inline(ctx, L, h);
    if (rc != kOk) {
      lua_pop(L, 2);
      return rc;
    }
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, -5);
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
  if (stays) {
    lua_pushvalue(L, -1);
    h->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  return kOk;
}

}  // namespace moonphase::engine
