// ngx.location.capture and capture_multi: the options, and subrequests made after them.
#include <cstdio>

#include "engine/phases.h"
#include "engine/variables/variables.h"
#include "http/body.h"
#include "http/headers_in.h"
#include "http/uri.h"
#include "ngx/api.h"
#include "ngx/args.h"
#include "ngx/ffi.h"
#include "ngx/request.h"

namespace moonphase::ngx {

namespace {

struct KeyValue {
  Str key, value;
  KeyValue* next = nullptr;
};

// One query, its texts in the request's arena.
struct Query {
  Str uri, args;
  uint32_t method = http::kGet;
  http::Body* body = nullptr;
  bool always_forward_body = false, share_vars = false, copy_vars = false, has_ctx = false;
  KeyValue *vars = nullptr, *headers = nullptr;
};

Str copy(Request* r, lua_State* L, int i) {
  size_t n;
  const char* s = lua_tolstring(L, i, &n);
  return r->pool->copy(Str(s, n));
}

// The table on the top as a list.
KeyValue* read_pairs(Request* r, lua_State* L) {
  KeyValue* first = nullptr;
  KeyValue** end = &first;
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      luaL_error(L, "attempt to use a non-string key in the \"vars\" option table");
    if (!lua_isstring(L, -1))
      luaL_error(L, "attempt to use bad variable value type %s", luaL_typename(L, -1));
    auto* pair = r->pool->make<KeyValue>();
    pair->key = copy(r, L, -2);
    pair->value = copy(r, L, -1);
    *end = pair;
    end = &pair->next;
    lua_pop(L, 1);
  }
  return first;
}

http::Body* make_body(Request* r, Str text) {
  auto* body = r->pool->make<http::Body>();
  if (text.empty()) return body;
  Buf* b = buf_of(*r->pool, text);
  b->memory = false;
  b->temporary = true;
  body->bufs = make_chain(*r->pool, b);
  body->buf = b;
  return body;
}

Str read_args(Request* r, lua_State* L) {
  switch (lua_type(L, -1)) {
    case LUA_TNIL:
      return {};
    case LUA_TNUMBER:
    case LUA_TSTRING:
      return copy(r, L, -1);
    case LUA_TTABLE: {
      std::string text;
      append_args(L, lua_gettop(L), &text);
      return r->pool->copy(text);
    }
    default:
      luaL_error(L, "Bad args option value");
      return {};
  }
}

KeyValue* read_pairs_option(Request* r, lua_State* L, int opts, const char* name) {
  lua_getfield(L, opts, name);
  int type = lua_type(L, -1);
  if (type != LUA_TNIL && type != LUA_TTABLE) luaL_error(L, "Bad %s option value", name);
  KeyValue* pairs = type == LUA_TTABLE ? read_pairs(r, L) : nullptr;
  lua_pop(L, 1);
  return pairs;
}

bool read_flag_option(lua_State* L, int opts, const char* name) {
  lua_getfield(L, opts, name);
  int type = lua_type(L, -1);
  if (type != LUA_TNIL && type != LUA_TBOOLEAN) luaL_error(L, "Bad %s option value", name);
  bool on = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return on;
}

Str read_options(Request* r, lua_State* L, int opts, Query* q) {
  lua_getfield(L, opts, "args");
  Str args = read_args(r, L);
  lua_pop(L, 1);
  q->vars = read_pairs_option(r, L, opts, "vars");
  q->headers = read_pairs_option(r, L, opts, "headers");
  q->share_vars = read_flag_option(L, opts, "share_all_vars");
  q->copy_vars = read_flag_option(L, opts, "copy_all_vars");
  lua_getfield(L, opts, "always_forward_body");
  q->always_forward_body = lua_toboolean(L, -1);
  lua_pop(L, 1);

  lua_getfield(L, opts, "method");
  if (!lua_isnil(L, -1)) {
    if (lua_type(L, -1) != LUA_TNUMBER) luaL_error(L, "Bad http request method");
    q->method = static_cast<uint32_t>(lua_tonumber(L, -1));
  }
  lua_pop(L, 1);

  lua_getfield(L, opts, "ctx");
  int type = lua_type(L, -1);
  if (type != LUA_TNIL && type != LUA_TTABLE)
    luaL_error(L, "Bad ctx option value type %s, expected a Lua table", lua_typename(L, type));
  q->has_ctx = type == LUA_TTABLE;
  lua_pop(L, 1);

  lua_getfield(L, opts, "body");
  type = lua_type(L, -1);
  if (type != LUA_TNIL) {
    if (type != LUA_TSTRING && type != LUA_TNUMBER) luaL_error(L, "Bad http request body");
    q->body = make_body(r, copy(r, L, -1));
  }
  lua_pop(L, 1);
  return args;
}

// The query table is on the top; it stays there.
void read_query(Request* r, lua_State* L, int index, Query* q) {
  int query = lua_gettop(L);
  if (lua_isnil(L, query)) luaL_error(L, "only array-like tables are allowed");
  if (!lua_istable(L, query))
    luaL_error(L, "the query argument %d is not a table, but a %s", index, luaL_typename(L, query));
  size_t nargs = lua_objlen(L, query);
  if (nargs != 1 && nargs != 2)
    luaL_error(L, "query argument %d expecting one or two arguments", index);
  lua_rawgeti(L, query, 1);
  Str more;
  if (nargs == 2) {
    lua_rawgeti(L, query, 2);
    if (!lua_istable(L, -1))
      luaL_error(L, "expecting table as the 2nd argument for subrequest %d, but got %s", index,
                 luaL_typename(L, -1));
    more = read_options(r, L, lua_gettop(L), q);
  }
  luaL_checklstring(L, query + 1, nullptr);
  q->uri = copy(r, L, query + 1);
  unsigned flags = 0;
  if (http::parse_unsafe_uri(r, &q->uri, &q->args, &flags) != kOk)
    luaL_error(L, "unsafe uri in argument #1: %s", lua_tostring(L, query + 1));
  if (!more.empty()) q->args = q->args.empty() ? more : r->pool->join({q->args, "&", more});
  lua_settop(L, query);
}

struct MethodName {
  uint32_t method;
  Str name;
};
constexpr MethodName kMethods[] = {
    {http::kGet, "GET"},           {http::kPost, "POST"},           {http::kPut, "PUT"},
    {http::kHead, "HEAD"},         {http::kDelete, "DELETE"},       {http::kOptions, "OPTIONS"},
    {http::kMkcol, "MKCOL"},       {http::kCopy, "COPY"},           {http::kMove, "MOVE"},
    {http::kPropfind, "PROPFIND"}, {http::kProppatch, "PROPPATCH"}, {http::kLock, "LOCK"},
    {http::kUnlock, "UNLOCK"},     {http::kPatch, "PATCH"},         {http::kTrace, "TRACE"},
};

int set_method(Request* sr, uint32_t method) {
  for (const MethodName& m : kMethods) {
    if (m.method != method) continue;
    sr->method = method;
    sr->method_name = m.name;
    return kOk;
  }
  MOONPHASE_LOG(sr, kLogErr, 0, "unsupported HTTP method: %u", method);
  return kError;
}

// Whose body the subrequest has decides which Content-Length it says.
enum class BodyOf { kNobody, kParent, kOwn };

BodyOf set_body(Request* sr, const Query& q) {
  Request* r = sr->parent;
  if (q.body) {
    sr->body = q.body;
    return BodyOf::kOwn;
  }
  if (!q.always_forward_body && q.method != http::kPut && q.method != http::kPost &&
      r->headers_in.content_length_n > 0) {
    sr->body = nullptr;
    return BodyOf::kNobody;
  }
  // Each request may end with the body: the file is shared, the record is not.
  if (sr->body && sr->body->temp_file) {
    auto* body = sr->pool->make<http::Body>();
    *body = *sr->body;
    auto* file = sr->pool->make<File>();
    *file = *sr->body->temp_file;
    body->temp_file = file;
    sr->body = body;
  }
  if (!r->headers_in.chunked) return BodyOf::kParent;
  return sr->body ? BodyOf::kOwn : BodyOf::kNobody;
}

int set_headers(Request* sr, const Query& q, BodyOf whose) {
  Request* r = sr->parent;
  sr->headers_in = http::HeadersIn();
  if (whose == BodyOf::kOwn) {
    char text[24];
    int n = snprintf(text, sizeof text, "%lld", static_cast<long long>(chain_size(sr->body->bufs)));
    if (set_request_header(sr, "Content-Length", Str(text, static_cast<size_t>(n)), false) != kOk)
      return kError;
  }
  for (const http::Header& h : r->headers_in.list) {
    if (!h.hash || (whose != BodyOf::kParent && h.lower == "content-length")) continue;
    Str value = h.value;
    http::headers_in_set(sr, h.name, &value, false);
  }
  for (KeyValue* h = q.headers; h; h = h->next)
    if (set_request_header(sr, h->key, h->value, true) == kError) return kError;
  return kOk;
}

int set_variables(Request* sr, const Query& q) {
  if (!q.share_vars) {
    size_t n = engine::plan(sr).variables.size();
    auto* values = sr->pool->array<http::VarValue>(n);
    if (q.copy_vars && sr->parent->variables)
      std::copy(sr->parent->variables, sr->parent->variables + n, values);
    sr->variables = values;
  }
  for (KeyValue* v = q.vars; v; v = v->next) {
    const char* error = nullptr;
    if (engine::set_variable(sr, v->key, &v->value, &error, *sr->pool) == kOk) continue;
    Str text(error ? error : "");
    if (text.find("not changeable") != Str::npos && text.find("built-in") == Str::npos) {
      MOONPHASE_LOG(sr, kLogErr, 0, "%s", error);
      return 500;
    }
    MOONPHASE_LOG(
        sr, kLogErr, 0,
        "variable \"%.*s\" cannot be assigned a value (maybe you forgot to define it first?) ",
        STR(v->key));
    return kError;
  }
  return kOk;
}

int adjust(Request* sr, const Query& q) {
  int rc = set_headers(sr, q, set_body(sr, q));
  if (rc == kOk) rc = set_method(sr, q.method);
  if (rc == kOk) rc = set_variables(sr, q);
  return rc;
}

// The table `ctx` of the query at `queries`[index] becomes the subrequest's ngx.ctx.
void share_ctx(lua_State* L, int queries, int index, LuaCtx* ctx) {
  lua_pushliteral(L, "ngx_lua_ctx_tables");
  lua_rawget(L, LUA_REGISTRYINDEX);
  lua_rawgeti(L, queries, index + 1);
  lua_rawgeti(L, -1, 2);
  lua_getfield(L, -1, "ctx");
  ctx->ctx_ref = luaL_ref(L, -4);
  lua_pop(L, 3);
}

// Never posted, never run.
void withdraw(Request* sr) {
  Request* main = sr->main;
  for (Request** p = &main->posted_head; *p; p = &(*p)->posted_next) {
    if (*p != sr) continue;
    *p = sr->posted_next;
    break;
  }
  main->posted_tail = nullptr;
  for (Request* p = main->posted_head; p; p = p->posted_next) main->posted_tail = p;
  --main->count;
}

void start(lua_State* L, LuaCtx* ctx, const Query& q, engine::CaptureSet* set, int index) {
  Request* r = ctx->r;
  Arena& a = *r->pool;
  auto* link = a.make<engine::CaptureLink>();
  auto* ps = a.make<http::PostSubrequest>();
  ps->handler = engine::lua_post_capture;
  ps->data = link;
  if (r->subrequests == 0) {
    MOONPHASE_LOG(r, kLogErr, 0, "lua subrequests cycle while processing \"%.*s\"", STR(q.uri));
    luaL_error(L, "failed to issue subrequest: %d", kError);
  }
  MOONPHASE_LOG(r, kLogDebug, 0, "lua http subrequest \"%.*s?%.*s\"", STR(q.uri), STR(q.args));
  Request* sr = nullptr;
  int rc = engine::subrequest(r, q.uri, q.args, &sr, ps, engine::kSubBackground);
  if (rc != kOk) luaL_error(L, "failed to issue subrequest: %d", rc);
  LuaCtx* sub = engine::make_capture_ctx(sr, ctx);
  link->set = set;
  link->ctx = sub;
  link->index = index;
  rc = adjust(sr, q);
  if (rc != kOk) {
    withdraw(sr);
    luaL_error(L, "failed to adjust the subrequest: %d", rc);
  }
  ++set->pending;
  if (q.has_ctx) share_ctx(L, 1, index, sub);
}

int capture_multi(lua_State* L) {
  int nargs = lua_gettop(L);
  if (nargs != 1) return luaL_error(L, "only one argument is expected, but got %d", nargs);
  luaL_checktype(L, 1, LUA_TTABLE);
  int count = static_cast<int>(lua_objlen(L, 1));
  if (count == 0) return luaL_error(L, "at least one subrequest should be specified");
  Request* r = engine::request_of(L);
  if (!r) return luaL_error(L, "no request object found");
  LuaCtx* ctx = engine::check(L, engine::kCapSubrequest);
  if (!ctx->current) return luaL_error(L, "no co ctx found");
  if (!lua_isyieldable(L)) return engine::yield_error(L);
  MOONPHASE_LOG(r, kLogDebug, 0, "lua location capture, uri:\"%.*s\" c:%d", STR(r->uri),
                r->main->count);

  auto* queries = static_cast<Query*>(r->pool->alloc(sizeof(Query) * static_cast<size_t>(count)));
  for (int i = 0; i < count; ++i) {
    new (&queries[i]) Query();
    lua_rawgeti(L, 1, i + 1);
    read_query(r, L, i, &queries[i]);
    lua_pop(L, 1);
  }
  auto* set = new (r->pool->alloc(sizeof(engine::CaptureSet))) engine::CaptureSet();
  set->parent = ctx;
  set->items = r->pool->array<engine::Capture>(static_cast<unsigned>(count));
  set->count = count;
  for (int i = 0; i < count; ++i) start(L, ctx, queries[i], set, i);
  set->waiter = ctx->current;
  ctx->current->subrequests = count;
  ctx->no_abort = true;
  return engine::wait(L, set);
}

int capture(lua_State* L) {
  int nargs = lua_gettop(L);
  if (nargs != 1 && nargs != 2) return luaL_error(L, "expecting one or two arguments");
  lua_createtable(L, nargs, 0);
  lua_insert(L, 1);
  for (int i = nargs; i > 0; --i) lua_rawseti(L, 1, i);
  lua_createtable(L, 1, 0);
  lua_insert(L, 1);
  lua_rawseti(L, 1, 1);
  return capture_multi(L);
}

}  // namespace

void open_subrequest(lua_State* L) {
  lua_createtable(L, 0, 2);
  constexpr luaL_Reg functions[] = {
      {"capture", capture}, {"capture_multi", capture_multi}, {nullptr, nullptr}};
  set_functions(L, functions);
  lua_setfield(L, -2, "location");
}

}  // namespace moonphase::ngx
