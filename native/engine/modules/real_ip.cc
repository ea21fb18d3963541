#include "engine/modules/real_ip.h"

#include <arpa/inet.h>

#include "engine/forwarded.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"

namespace moonphase::engine {

namespace {

// What the connection said before: Request::real_peer.
struct Original {
  http::Connection* c = nullptr;
  sockaddr_storage peer{};
  socklen_t len = 0;
  Str text;
};

void restore(Original* o) {
  if (!o->c) return;
  o->c->peer = o->peer;
  o->c->peer_len = o->len;
  o->c->addr_text = o->text;
  o->c = nullptr;
}

bool text_of(const SocketAddress& address, Arena& a, Str* text) {
  char buf[INET6_ADDRSTRLEN];
  const sockaddr* sa = address.get();
  const void* bytes =
      sa->sa_family == AF_INET6
          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in6*>(sa)->sin6_addr)
          : &reinterpret_cast<const sockaddr_in*>(sa)->sin_addr;
  if (!inet_ntop(sa->sa_family, bytes, buf, sizeof buf)) return false;
  *text = a.copy(buf);
  return true;
}

int replace(Request* r, const SocketAddress& address) {
  Str text;
  if (!text_of(address, *r->pool, &text)) return 500;
  http::Connection* c = r->conn;
  auto* o = r->pool->make<Original>();
  o->c = c;
  o->peer = c->peer;
  o->len = c->peer_len;
  o->text = c->addr_text;
  r->pool->on_destroy([](void* p) { restore(static_cast<Original*>(p)); }, o);
  r->main->real_peer = o;
  c->peer = address.storage;
  c->peer_len = address.len;
  c->addr_text = text;
  return kDeclined;
}

int real_ip_handler(Request* r) {
  auto* conf = static_cast<const RealIpConf*>(loc(r)->module[kModRealIp].get());
  if (!conf || r->main->real_peer) return kDeclined;
  SocketAddress address;
  address.storage = r->conn->peer;
  address.len = r->conn->peer_len;

  if (conf->proxy_protocol) {
    const http::ProxyProtocol* proxy = r->conn->proxy_protocol.get();
    if (!proxy || !forwarded_address(proxy->source, conf->from, conf->recursive, &address))
      return kDeclined;
    reinterpret_cast<sockaddr_in*>(&address.storage)->sin_port = htons(proxy->source_port);
    return replace(r, address);
  }
  bool list = conf->header == "x-forwarded-for";
  const http::Header* h =
      list ? r->headers_in.x_forwarded_for : r->headers_in.list.find(conf->header);
  if (!h) return kDeclined;
  bool found = list ? forwarded_address(h, conf->from, conf->recursive, &address)
                    : forwarded_address(h->value, conf->from, conf->recursive, &address);
  return found ? replace(r, address) : int{kDeclined};
}

int realip_remote_addr(Request* r, VarValue* v, Str, uintptr_t) {
  auto* o = static_cast<const Original*>(r->main->real_peer);
  return found(v, o ? o->text : r->conn->addr_text);
}

int realip_remote_port(Request* r, VarValue* v, Str, uintptr_t) {
  auto* o = static_cast<const Original*>(r->main->real_peer);
  auto* sa = reinterpret_cast<const sockaddr*>(o ? &o->peer : &r->conn->peer);
  if (sa->sa_family != AF_INET && sa->sa_family != AF_INET6) return found(v, "");
  return found_number(r, v, ntohs(reinterpret_cast<const sockaddr_in*>(sa)->sin_port));
}

constexpr VariableDef kVariables[] = {
    {"realip_remote_addr", realip_remote_addr, nullptr, 0, 0},
    {"realip_remote_port", realip_remote_port, nullptr, 0, 0},
    {nullptr, nullptr, nullptr, 0, 0},
};

bool used(const Plan& plan) {
  for (const auto& conf : plan.confs)
    if (conf->module[kModRealIp]) return true;
  return false;
}

}  // namespace

void register_real_ip() {
  // In preaccess again, for locations that have their own.
  add_step({Phase::kPostRead, real_ip_handler, used});
  add_step({Phase::kPreaccess, real_ip_handler, used});
  add_variables(kVariables);
}

void real_ip_detached(http::Request* main) {
  if (main->real_peer) restore(static_cast<Original*>(main->real_peer));
}

}  // namespace moonphase::engine
