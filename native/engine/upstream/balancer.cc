// balancer_by_lua*: Lua chooses the server of each try, and keeps idle connections its own way.
#include <algorithm>

#include "engine/lifecycle.h"
#include "engine/side_run.h"
#include "engine/upstream/upstream.h"

namespace moonphase::engine {

namespace {

// What ngx.exit() has asked for; kOk: go on.
int exit_code(const LuaCtx* ctx) {
  if (!ctx->exited || ctx->exit_code == kOk) return kOk;
  const int code = ctx->exit_code;
  if (code == kError || code == kBusy || code == kDeclined || code >= 300) return code;
  return code > kOk ? int{kError} : int{kOk};
}

}  // namespace

void Upstream::choose_by_lua() {
  const Handler* handler = group->plan->balancer.get();
  if (!lua) lua = r->pool->make<LuaChoice>();
  MOONPHASE_LOG(r, kLogDebug, 0, "lua balancer: get peer, tries: %d", walk_.tries);
  LuaCtx* ctx = lua_ctx(r);
  if (!ctx) {
    chosen(kError);
    return;
  }
  lua->len = 0;
  lua->more_tries = 0;
  lua->keepalive_requests = 0;
  lua->keepalive_timeout = 0;
  lua->keepalive = false;
  ++lua->total_tries;
  if (!extended(ctx)) {
    reset(ctx);
    enter_phase(ctx, kPhaseBalancer);
    if (push_handler(ctx, handler) != kOk) {
      chosen(kError);
      return;
    }
    const int rc = call_handler(ctx, 0, "balancer_by_lua*");
    lua_pop(ctx->L(), 1);
    chosen_by_lua(rc == kOk ? exit_code(ctx) : int{kError});
    return;
  }
  if (push_handler(ctx, handler) != kOk) {
    chosen(kError);
    return;
  }
  auto ended = [](SideRun* s, int) {
    auto* u = static_cast<Upstream*>(s->data);
    const int rc = s->failed ? int{kError} : exit_code(s->ctx);
    close_side(s);
    if (u->stage_ != kBalancing || Upstream::of(u->r) != u) return;
    u->r->conn->current = u->r;
    u->chosen_by_lua(rc);
  };
  SideRun* s = open_side(ctx, kPhaseBalancer, ended);
  s->data = this;
  const int rc = begin_side(s, 0);
  if (rc == kDone) return;
  stage_ = kBalancing;
  if (rc != kAgain) ended(s, rc);
}

void Upstream::chosen_by_lua(int rc) {
  if (rc != kOk) {
    chosen(rc);
    return;
  }
  if (lua->len) {
    by_lua_ = true;
    walk_.tries += lua->more_tries;
    chosen(kOk);
    return;
  }
  if (walk_.placeholder()) {
    MOONPHASE_LOG(r, kLogErr, 0, "lua balancer: no peer set");
    chosen(kError);
    return;
  }
  chosen(walk_.next());
}

bool Upstream::lua_keeps() const {
  return lua_pool() && group->lua_keepalive &&
         (!lua->keepalive_requests || link_.requests < static_cast<int>(lua->keepalive_requests));
}

bool Upstream::take_lua_idle() {
  if (!group->lua_keepalive) return false;
  if (ssl && lua->host.empty()) lua->host = ssl_name();
  KeepaliveKey key = connection_key();
  key.host = lua->host;
  stream_ = group->lua_keepalive->take(key, &link_);
  if (stream_)
    MOONPHASE_LOG(r, kLogDebug, 0,
                  "lua balancer: keepalive reusing connection %p, host: %.*s, name: %.*s",
                  static_cast<void*>(stream_), STR(lua->name), STR(lua->host));
  else
    MOONPHASE_LOG(r, kLogDebug, 0,
                  "lua balancer: keepalive no free connection, host: %.*s, name: %.*s",
                  STR(lua->name), STR(lua->host));
  return stream_ != nullptr;
}

void Upstream::put_lua_idle() {
  MOONPHASE_LOG(r, kLogDebug, 0,
                "lua balancer: keepalive saving connection %p, host: %.*s, name: %.*s",
                static_cast<void*>(stream_), STR(lua->name), STR(lua->host));
  if (stream_->tls) stream_->tls->set_owner(nullptr);
  KeepaliveKey key = connection_key();
  key.host = lua->host;
  group->lua_keepalive->put(stream_, key, link_, lua->keepalive_timeout);
  stream_ = nullptr;
}

}  // namespace moonphase::engine
