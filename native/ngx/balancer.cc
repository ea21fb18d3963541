// ngx.balancer: what balancer_by_lua says about the server of the next try.
#include "engine/sockets/peer.h"
#include "engine/upstream/upstream.h"
#include "ngx/ffi.h"

using namespace moonphase;
using namespace moonphase::ngx;
using engine::Upstream;

namespace {

// Null: *err says why.
Upstream* balancing(Request* r, const char** err) {
  if (!r) {
    *err = "no request found";
    return nullptr;
  }
  Upstream* u = Upstream::of(r);
  if (!u) {
    *err = "no upstream found";
    return nullptr;
  }
  const LuaCtx* ctx = engine::ctx_of(r);
  if (!ctx) {
    *err = "no ctx found";
    return nullptr;
  }
  if (!(ctx->phase & engine::kPhaseBalancer) || !u->lua) {
    *err = "API disabled in the current context";
    return nullptr;
  }
  return u;
}

Upstream* balancing(Request* r, char** err) {
  const char* why = nullptr;
  Upstream* u = balancing(r, &why);
  if (!u) ffi_error(err, why);
  return u;
}

// "ADDRESS" or "ADDRESS:PORT"; null, or why not.
const char* read_address(Str text, int port, sockaddr_storage* addr, socklen_t* len) {
  if (text.empty()) return "no host";
  if (engine::literal_address(text, port, addr, len)) return nullptr;
  std::string host;
  int own = 0;
  engine::split_address(std::string(text), &host, &own);
  if (host.size() == text.size()) return "no host allowed";
  if (own < 1 || own > 65535) return "invalid port";
  return engine::literal_address(host, own, addr, len) ? nullptr : "no host allowed";
}

}  // namespace

MOONPHASE_FFI int ngx_http_lua_ffi_balancer_set_current_peer(Request* r, const unsigned char* addr,
                                                             size_t addr_len, int port,
                                                             const unsigned char* host,
                                                             ssize_t host_len, char** err) {
  Upstream* u = balancing(r, err);
  if (!u) return kError;
  engine::LuaChoice& choice = *u->lua;
  sockaddr_storage to;
  socklen_t len;
  if (const char* why = read_address(str(addr, addr_len), port, &to, &len))
    return ffi_error(err, why);
  choice.addr = to;
  choice.len = len;
  choice.name = r->pool->copy(engine::address_name(to));
  choice.host =
      host && host_len > 0 ? r->pool->copy(str(host, static_cast<size_t>(host_len))) : Str();
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_balancer_bind_to_local_addr(Request* r,
                                                               const unsigned char* addr,
                                                               size_t addr_len,
                                                               unsigned char* errbuf,
                                                               size_t* errbuf_size) {
  const char* why = nullptr;
  Upstream* u = balancing(r, &why);
  if (!u) return ffi_error(errbuf, errbuf_size, "%s", why);
  sockaddr_storage from;
  socklen_t len;
  const Str text = str(addr, addr_len);
  if (read_address(text, 0, &from, &len))
    return ffi_error(errbuf, errbuf_size, "invalid addr %.*s", STR(text));
  u->lua->local = from;
  u->lua->local_len = len;
  u->lua->local_name = r->pool->copy(text);
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_balancer_enable_keepalive(Request* r, unsigned long timeout,
                                                             unsigned int max_requests,
                                                             char** err) {
  Upstream* u = balancing(r, err);
  if (!u) return kError;
  if (!u->lua->len) return ffi_error(err, "no current peer set");
  u->lua->keepalive_timeout = static_cast<int64_t>(timeout);
  u->lua->keepalive_requests = max_requests;
  u->lua->keepalive = true;
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_balancer_set_timeouts(Request* r, long connect_timeout,
                                                         long send_timeout, long read_timeout,
                                                         char** err) {
  Upstream* u = balancing(r, err);
  if (!u) return kError;
  if (connect_timeout > 0) u->connect_timeout = connect_timeout;
  if (send_timeout > 0) u->send_timeout = send_timeout;
  if (read_timeout > 0) u->read_timeout = read_timeout;
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_balancer_set_more_tries(Request* r, int count, char** err) {
  Upstream* u = balancing(r, err);
  if (!u) return kError;
  *err = nullptr;
  const int most = u->conf->next_tries;
  const int total = u->lua->total_tries + u->tries_left() - 1;
  if (most && total + count > most) {
    count = most - total;
    ffi_error(err, "reduced tries due to limit");
  }
  u->lua->more_tries = count;
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_balancer_get_last_failure(Request* r, int* status, char** err) {
  Upstream* u = balancing(r, err);
  if (!u) return kError;
  *status = u->last_status();
  return u->lua->last_state;
}

MOONPHASE_FFI int ngx_http_lua_ffi_balancer_recreate_request(Request* r, char** err) {
  Upstream* u = balancing(r, err);
  if (!u) return kError;
  *err = nullptr;
  return u->recreate_request();
}

MOONPHASE_FFI int ngx_http_lua_ffi_balancer_set_upstream_tls(Request* r, int on, char** err) {
  Upstream* u = balancing(r, err);
  if (!u) return kError;
  u->ssl = on != 0;
  u->schema = u->ssl ? "https://" : "http://";
  return kOk;
}
