// ngx.req: the client's body, read, discarded, replaced, built up.
#include "http/body.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "ngx/request.h"

namespace moonphase::ngx {

namespace {

const char kTag = 0;  // buffers made here

void no_arguments(lua_State* L) {
  int n = lua_gettop(L);
  if (n != 0) luaL_error(L, "expecting 0 arguments but seen %d", n);
}

// A coroutine that waits for the whole body. In the request's arena.
class BodyWait final : public engine::Pending {
 public:
  LuaCtx* ctx = nullptr;
  int results(lua_State*) override { return 0; }
  void cancel() override {
    ctx->body_wait = nullptr;
    ctx->waiting_more_body = false;
    ctx->r->keepalive = false;
  }
};

void body_arrived(Request* r) {
  LuaCtx* ctx = engine::ctx_of(r);
  if (!ctx || !ctx->body_wait) return;
  engine::Pending* wait = ctx->body_wait;
  ctx->body_wait = nullptr;
  ctx->waiting_more_body = false;
  if (engine::loc(r)->lua.check_client_abort) {
    engine::lua_watch_client(ctx);
  } else {
    r->read_event_handler = http::block_reading;
  }
  engine::wake(wait);
}

int read_body(lua_State* L) {
  no_arguments(L);
  Request* r = engine::request_of(L);
  if (!r) return luaL_error(L, "request object not found");
  LuaCtx* ctx = engine::ctx_of(r);
  if (!ctx) return luaL_error(L, "no ctx found");
  engine::check(L, engine::kCapReadBody);

  r->request_body_in_single_buf = true;
  r->request_body_in_persistent_file = true;
  r->request_body_in_clean_file = true;
  if (r->request_body_in_file_only) r->request_body_file_log_level = 0;

  // A second reader of a body that is still coming gets kOk: that must not wake the first.
  engine::Pending* first = ctx->body_wait;
  ctx->body_wait = nullptr;
  int rc = http::read_body(r, body_arrived);
  ctx->body_wait = first;
  if (rc >= 300) {
    ctx->exit_code = rc;
    ctx->exited = true;
    return lua_yield(L, 0);
  }
  --r->main->count;
  if (rc != kAgain) return 0;

  auto* wait = new (r->pool->alloc(sizeof(BodyWait))) BodyWait;
  wait->ctx = ctx;
  ctx->body_wait = wait;
  ctx->waiting_more_body = true;
  return engine::wait(L, wait);
}

int discard_body(lua_State* L) {
  no_arguments(L);
  Request* r = client_request(L, "request object not found");
  int rc = http::discard_body(r);
  if (rc == kError || rc >= 300) return luaL_error(L, "failed to discard request body");
  return 0;
}

int get_body_data(lua_State* L) {
  int n = lua_gettop(L);
  if (n > 1) return luaL_error(L, "expecting 0 or 1 arguments but seen %d", n);
  size_t max = n == 1 ? static_cast<size_t>(luaL_checknumber(L, 1)) : 0;
  Request* r = client_request(L, "request object not found");
  http::Body* body = r->body;
  lua_settop(L, 0);
  lua_pushnil(L);
  if (!body || body->temp_file || !body->bufs) return 1;

  if (!body->bufs->next) {
    Str all = body->bufs->buf->bytes();
    if (!all.empty()) push_str(L, max ? all.substr(0, max) : all);
    return 1;
  }
  std::string text;
  for (Chain* c = body->bufs; c && (!max || text.size() < max); c = c->next) {
    Str part = c->buf->bytes();
    text.append(max ? part.substr(0, max - text.size()) : part);
  }
  if (!text.empty()) push_str(L, text);
  return 1;
}

int get_body_file(lua_State* L) {
  no_arguments(L);
  Request* r = client_request(L, "request object not found");
  lua_pushnil(L);
  if (r->body && r->body->temp_file) push_str(L, r->body->temp_file->name);
  return 1;
}

http::Body* readable_body(lua_State* L, Request* r) {
  if (r->discard_body) luaL_error(L, "request body already discarded asynchronously");
  if (!r->body) luaL_error(L, "request body not read yet");
  return r->body;
}

void set_length(lua_State* L, Request* r, int64_t n) {
  char text[24];
  int len = snprintf(text, sizeof text, "%lld", static_cast<long long>(n));
  r->headers_in.content_length_n = n;
  if (set_request_header(r, "Content-Length", {text, static_cast<size_t>(len)}, true) != kOk) {
    luaL_error(L, "failed to reset the Content-Length input header");
  }
}

// Forgets what the body was; its file goes at once.
void clear_body(http::Body* body) {
  if (body->temp_file) body->temp_file->drop();
  body->temp_file = nullptr;
  body->bufs = nullptr;
  body->buf = nullptr;
}

int set_body_data(lua_State* L) {
  int n = lua_gettop(L);
  if (n != 1) return luaL_error(L, "expecting 1 arguments but seen %d", n);
  Str data = check_str(L, 1);
  Request* r = client_request(L, "request object not found");
  http::Body* body = readable_body(L, r);
  clear_body(body);
  if (!data.empty()) {
    Buf* b = buf_of(*r->pool, r->pool->copy(data));
    b->memory = false;
    b->temporary = true;
    b->tag = &kTag;
    body->bufs = make_chain(*r->pool, b);
    body->buf = b;
  }
  set_length(L, r, static_cast<int64_t>(data.size()));
  return 0;
}

int init_body(lua_State* L) {
  int n = lua_gettop(L);
  if (n > 1) return luaL_error(L, "expecting 0 or 1 argument but seen %d", n);
  Request* r = client_request(L, "no request found");
  http::Body* body = readable_body(L, r);
  lua_Integer size = static_cast<lua_Integer>(r->loc->client_body_buffer_size);
  if (n == 1) {
    size = luaL_checkinteger(L, 1);
    if (size < 0) return luaL_error(L, "bad size argument: %d", static_cast<int>(size));
  }
  if (size == 0) r->request_body_in_file_only = true;
  clear_body(body);
  r->request_body_in_clean_file = true;
  r->headers_in.content_length_n = 0;

  Buf* b = make_buf(*r->pool);
  b->start = b->pos = b->last = r->pool->bytes(static_cast<size_t>(size));
  b->end = b->start + size;
  b->temporary = true;
  body->buf = b;
  body->bufs = make_chain(*r->pool, b);
  return 0;
}

// Appends to the body's temp file, which is made first.
bool write_file(Request* r, Str data) {
  File*& file = r->body->temp_file;
  if (!file) {
    file = http::temp_file(r, r->loc->client_body_temp_path, true, true);
    if (!file) return false;
    if (int level = r->request_body_file_log_level) {
      MOONPHASE_LOG(r, level, 0, "a client request body is buffered to a temporary file %.*s",
                    STR(file->name));
    }
  }
  while (!data.empty()) {
    ssize_t n = pwrite(file->fd, data.data(), data.size(), file->offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      MOONPHASE_LOG(r, kLogCrit, errno, "pwrite() \"%.*s\" failed", STR(file->name));
      return false;
    }
    file->offset += n;
    data.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

void check_initialized(lua_State* L, Request* r) {
  if (!r->body || !r->body->buf || !r->body->bufs) luaL_error(L, "request_body not initialized");
}

int append_body(lua_State* L) {
  int n = lua_gettop(L);
  if (n != 1) return luaL_error(L, "expecting 1 arguments but seen %d", n);
  Str data = check_str(L, 1);
  Request* r = client_request(L, "no request found");
  check_initialized(L, r);
  r->headers_in.content_length_n += static_cast<int64_t>(data.size());
  if (r->request_body_in_file_only) {
    if (!write_file(r, data)) return luaL_error(L, "fail to write file");
    return 0;
  }
  Buf* b = r->body->buf;
  while (!data.empty()) {
    if (b->last == b->end) {
      if (!write_file(r, b->bytes())) return luaL_error(L, "fail to write file");
      b->last = b->start;
    }
    size_t part = std::min(data.size(), static_cast<size_t>(b->end - b->last));
    std::memcpy(b->last, data.data(), part);
    b->last += part;
    data.remove_prefix(part);
  }
  return 0;
}

Buf* file_buf(Request* r, File* file, off_t size) {
  Buf* b = make_buf(*r->pool);
  b->in_file = true;
  b->file = file;
  b->file_last = size;
  b->tag = &kTag;
  return b;
}

int finish_body(lua_State* L) {
  int n = lua_gettop(L);
  if (n != 0) return luaL_error(L, "expecting 0 argument but seen %d", n);
  Request* r = client_request(L, "no request found");
  check_initialized(L, r);
  http::Body* body = r->body;
  if (body->temp_file) {
    if (!write_file(r, body->buf->bytes())) return luaL_error(L, "fail to write file");
    body->bufs = make_chain(*r->pool, file_buf(r, body->temp_file, body->temp_file->offset));
  }
  set_length(L, r, r->headers_in.content_length_n);
  return 0;
}

struct OpenFile {
  int fd;
  const char* remove;  // path, or null to keep the file
};
void close_file(void* data) {
  auto* f = static_cast<OpenFile*>(data);
  if (f->remove) unlink(f->remove);
  close(f->fd);
}

int set_body_file(lua_State* L) {
  int n = lua_gettop(L);
  if (n != 1 && n != 2) return luaL_error(L, "expecting 1 or 2 arguments but seen %d", n);
  Str name = check_str(L, 1);
  Request* r = client_request(L, "no request found");
  http::Body* body = readable_body(L, r);
  bool clean = false;
  if (n == 2) {
    luaL_checktype(L, 2, LUA_TBOOLEAN);
    clean = lua_toboolean(L, 2);
  }

  Arena& a = *r->pool;
  const char* path = a.c_str(name);
  struct stat info;
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return luaL_error(L, "open() \"%s\" failed", path);
  if (fstat(fd, &info) != 0 || S_ISDIR(info.st_mode)) {
    close(fd);
    return luaL_error(L, "open() \"%s\" failed", path);
  }
  clear_body(body);
  auto* file = a.make<File>();
  file->fd = fd;
  file->name = {path, name.size()};
  file->offset = info.st_size;
  file->cleanup = a.on_destroy(close_file, a.make<OpenFile>(fd, clean ? path : nullptr));
  body->temp_file = file;
  if (info.st_size > 0) {
    Buf* b = file_buf(r, file, info.st_size);
    b->last_in_chain = true;
    body->bufs = make_chain(a, b);
  } else {
    file->drop();
  }
  set_length(L, r, info.st_size);
  return 0;
}

}  // namespace

void add_request_body(lua_State* L) {
  static const luaL_Reg kFunctions[] = {
      {"read_body", read_body},         {"discard_body", discard_body},
      {"get_body_data", get_body_data}, {"get_body_file", get_body_file},
      {"set_body_data", set_body_data}, {"set_body_file", set_body_file},
      {"init_body", init_body},         {"append_body", append_body},
      {"finish_body", finish_body},     {nullptr, nullptr}};
  set_functions(L, kFunctions);
}

}  // namespace moonphase::ngx
