#include "engine/tls_sessions.h"

#include "engine/plan.h"
#include "net/tls_context.h"
#include "net/tls_hello.h"
#include "shm/zone.h"

namespace moonphase::engine {

namespace {
constexpr size_t kMostBytes = 4096;  // nginx keeps no larger sessions either
}  // namespace

TlsSessionZone::~TlsSessionZone() {
  if (shared) shm::zone_registry_release(shared);
}

bool open_tls_sessions(Generation* g, std::string* error) {
  const auto& inherited = g->runtime->options.zone_fds;
  for (const auto& zone : g->plan->tls_session_zones) {
    shm::ZoneSpec spec;
    spec.name = zone->name;
    spec.size = zone->size;
    spec.exact = true;
    if (auto it = inherited.find(zone->name); it != inherited.end()) spec.fd = it->second;
    zone->shared = shm::zone_registry_open(spec, error);
    if (!zone->shared) return false;
  }
  const Str secret = g->runtime->stats.secret();
  if (secret.empty()) return true;
  for (const auto& server : g->plan->servers)
    if (server->tls_context && server->tls->ticket_keys.empty())
      net::derive_ticket_keys(server->tls_context.get(), secret);
  return true;
}

void keep_tls_session(const ServerConf* srv, const net::TlsSession* tls, SSL_SESSION* session) {
  if (!srv->tls_sessions || !srv->tls_sessions->shared || net::has_ticket(tls)) return;
  char bytes[kMostBytes];
  const size_t n = net::encode_session(session, bytes, sizeof bytes);
  if (!n) return;
  srv->tls_sessions->shared->dict.store(shm::kSet, net::session_id(session),
                                        {shm::Type::kString, 0, {bytes, n}},
                                        srv->tls->session_timeout * 1000, 0, shm::now_ms());
}

SSL_SESSION* find_tls_session(const ServerConf* srv, Str id) {
  if (!srv->tls_sessions || !srv->tls_sessions->shared) return nullptr;
  char bytes[kMostBytes];
  const shm::Sink sink{bytes, sizeof bytes, nullptr, nullptr};
  const shm::GetResult got = srv->tls_sessions->shared->dict.get(id, shm::now_ms(), sink);
  if (got.rc != kOk || got.type != shm::Type::kString || got.size > sizeof bytes) return nullptr;
  return net::decode_session({bytes, got.size});
}

}  // namespace moonphase::engine
