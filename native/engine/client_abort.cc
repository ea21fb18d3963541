// lua_check_client_abort: a client that goes away while Lua works runs ngx.on_abort's function, or
// ends the request.
#include <cerrno>

#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "http/connection.h"

namespace moonphase::engine {

bool lua_client_gone(Request* r) {
  http::Connection* c = r->conn;
  if (c->error) {
    c->want_read(false);
    return true;
  }
  const ssize_t n = c->peek();
  if (n == net::kIoAgain) return false;
  c->want_read(false);
  if (n > 0) return false;  // the next request
  c->eof = true;
  MOONPHASE_LOG(r, kLogInfo, n < 0 ? c->io_error() : 0,
                "client prematurely closed connection");
  return true;
}

namespace {

void read_event(Request* r) {
  if (r->done || !lua_client_gone(r)) return;
  LuaCtx* ctx = ctx_of(r);
  if (!ctx) return;
  Co* co = ctx->on_abort;
  if (!co) {
    r->conn->error = true;
    cleanup(ctx);
    lua_finalize(ctx, 499);
    return;
  }
  if (co->status != Co::kSuspended) return;  // it runs, or has run
  ++ctx->uthreads;
  co->status = Co::kRunning;
  MOONPHASE_LOG(r, kLogDebug, 0, "lua waking up the on_abort callback thread");
  resume_co(co, 0);
}

}  // namespace

void lua_watch_client(LuaCtx* ctx) {
  ctx->r->read_event_handler = read_event;
  ctx->r->conn->want_read(true);
}

}  // namespace moonphase::engine
