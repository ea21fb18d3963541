#include "engine/upstream_peer.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <strings.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstddef>

#include "base/clock.h"
#include "engine/lifecycle.h"
#include "net/tls_client.h"

namespace moonphase::engine {

namespace {

bool same_text(Str a, Str b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

void set_port(sockaddr_storage* addr, int port) {
  auto n = htons(static_cast<uint16_t>(port));
  if (addr->ss_family == AF_INET) reinterpret_cast<sockaddr_in*>(addr)->sin_port = n;
  if (addr->ss_family == AF_INET6) reinterpret_cast<sockaddr_in6*>(addr)->sin6_port = n;
}

// "HOST:PORT" as the front end writes it.
void split_address(const std::string& text, std::string* host, int* port) {
  *port = 0;
  *host = text;
  if (text.starts_with("unix:")) return;
  size_t colon = text.rfind(':');
  if (colon == std::string::npos) return;
  std::from_chars(text.data() + colon + 1, text.data() + text.size(), *port);
  host->resize(colon);
}

// While the configuration is loaded nothing else runs: this may block.
bool lookup(const std::string& host, int port, std::vector<net::ResolvedAddress>* out) {
  net::ResolvedAddress one{};
  if (literal_address(host, port, &one.addr, &one.len)) {
    out->push_back(one);
    return true;
  }
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &list) != 0) {
    hints.ai_flags = 0;  // a machine that has only loopback addresses
    if (getaddrinfo(host.c_str(), nullptr, &hints, &list) != 0) return false;
  }
  // IPv4 first, as nginx has them.
  for (int family : {AF_INET, AF_INET6}) {
    for (addrinfo* i = list; i; i = i->ai_next) {
      if (i->ai_family != family) continue;
      std::memcpy(&one.addr, i->ai_addr, i->ai_addrlen);
      one.len = i->ai_addrlen;
      set_port(&one.addr, port);
      out->push_back(one);
    }
  }
  freeaddrinfo(list);
  return !out->empty();
}

UpstreamPeer* add_peer(PeerSet& set, const net::ResolvedAddress& address, Str server) {
  set.peers.push_back(std::make_unique<UpstreamPeer>());
  UpstreamPeer* peer = set.peers.back().get();
  peer->addr = address.addr;
  peer->len = address.len;
  peer->name = address_name(address.addr);
  peer->server = server;
  return peer;
}

}  // namespace

bool literal_address(Str host, int port, sockaddr_storage* addr, socklen_t* len) {
  *addr = {};
  if (host.starts_with("unix:")) {
    host.remove_prefix(5);
    auto* un = reinterpret_cast<sockaddr_un*>(addr);
    if (host.size() >= sizeof un->sun_path) return false;
    un->sun_family = AF_UNIX;
    put_bytes(un->sun_path, host);
    *len = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + host.size() + 1);
    return true;
  }
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  char text[INET6_ADDRSTRLEN];
  if (host.size() >= sizeof text) return false;
  *put_bytes(text, host) = 0;
  auto* v4 = reinterpret_cast<sockaddr_in*>(addr);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(addr);
  if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    *len = sizeof *v4;
  } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    *len = sizeof *v6;
  } else {
    return false;
  }
  set_port(addr, port);
  return true;
}

std::string address_name(const sockaddr_storage& addr) {
  char text[INET6_ADDRSTRLEN] = "";
  if (addr.ss_family == AF_UNIX)
    return std::string("unix:") + reinterpret_cast<const sockaddr_un*>(&addr)->sun_path;
  if (addr.ss_family == AF_INET6) {
    auto* v6 = reinterpret_cast<const sockaddr_in6*>(&addr);
    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    return "[" + std::string(text) + "]:" + std::to_string(ntohs(v6->sin6_port));
  }
  auto* v4 = reinterpret_cast<const sockaddr_in*>(&addr);
  inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
  return std::string(text) + ":" + std::to_string(ntohs(v4->sin_port));
}

UpstreamPeer::~UpstreamPeer() { net::free_session(tls_session); }

int PeerSet::usable() const {
  int n = 0;
  for (const auto& peer : peers) n += !peer->down;
  return n;
}

// --- groups ---

UpstreamGroups& groups_of(const Plan& plan) {
  return *static_cast<UpstreamGroups*>(plan.main_conf->module[kModUpstream].get());
}

void close_idle_upstreams(const Plan& plan) {
  if (!plan.main_conf) return;
  for (const auto& group : groups_of(plan))
    if (group->keepalive) group->keepalive->close_all();
}

bool seal_upstreams(Plan& plan, std::string* error) {
  if (!plan.main_conf) return true;
  plan.main_conf->module[kModUpstream] = std::make_shared<UpstreamGroups>();
  for (const auto& up : plan.upstreams) {
    auto group = std::make_unique<UpstreamGroup>();
    group->name = up->name;
    group->plan = up.get();
    if (up->keepalive > 0) group->keepalive = std::make_unique<UpstreamKeepalive>(up.get());
    for (const UpstreamServerPlan& server : up->servers) {
      std::string host;
      int port;
      split_address(server.address, &host, &port);
      std::vector<net::ResolvedAddress> addresses;
      if (!lookup(host, port, &addresses)) {
        *error = "host not found in upstream \"" + server.address + "\" in " + up->where.file +
                 ":" + std::to_string(up->where.line);
        return false;
      }
      for (const net::ResolvedAddress& address : addresses) {
        UpstreamPeer* peer =
            add_peer(server.backup ? group->backup : group->primary, address, server.address);
        peer->weight = peer->effective_weight = server.weight;
        peer->max_fails = server.max_fails;
        peer->max_conns = server.max_conns;
        peer->fail_timeout = server.fail_timeout / 1000;
        peer->down = server.down;
      }
    }
    if (group->primary.peers.empty() && !up->balancer) {
      *error = "no servers in upstream \"" + up->name + "\" in " + up->where.file + ":" +
               std::to_string(up->where.line);
      return false;
    }
    groups_of(plan).push_back(std::move(group));
  }
  return true;
}

UpstreamGroup* find_group(const Plan& plan, Str host, int port, bool no_port) {
  for (const auto& group : groups_of(plan))
    if (same_text(group->name, host) && ((group->port == 0 && no_port) || group->port == port))
      return group.get();
  return nullptr;
}

UpstreamGroup* group_for(Plan& plan, Str host, int port, bool no_port, const Where& where,
                         std::string* error) {
  if (UpstreamGroup* known = find_group(plan, host, port, no_port)) return known;
  auto group = std::make_unique<UpstreamGroup>();
  group->name = host;
  group->port = port;
  std::vector<net::ResolvedAddress> addresses;
  if (!lookup(group->name, port, &addresses)) {
    *error = "host not found in upstream \"" + group->name + "\" in " + where.file + ":" +
             std::to_string(where.line);
    return nullptr;
  }
  for (const net::ResolvedAddress& address : addresses) add_peer(group->primary, address, host);
  groups_of(plan).push_back(std::move(group));
  return groups_of(plan).back().get();
}

UpstreamGroup* make_group(Request* r, Str host, int port,
                          const std::vector<net::ResolvedAddress>& addresses) {
  auto* group = new UpstreamGroup;
  r->pool->on_destroy([](void* p) { delete static_cast<UpstreamGroup*>(p); }, group);
  group->name = host;
  group->port = port;
  for (net::ResolvedAddress address : addresses) {
    set_port(&address.addr, port);
    add_peer(group->primary, address, host);
  }
  return group;
}

// --- a request's way through them ---

void PeerWalk::begin(Request* r, UpstreamGroup* g, int most_tries) {
  r_ = r;
  group = g;
  set_ = &g->primary;
  tries = g->single() ? 1 : g->primary.usable() + g->backup.usable();
  if (most_tries && tries > most_tries) tries = most_tries;
  size_t most = std::max(g->primary.peers.size(), g->backup.peers.size());
  tried_ = r->pool->array<uint64_t>(most / 64 + 1);
}

UpstreamPeer* PeerWalk::pick(PeerSet& set) {
  int64_t sec = now().wall_sec();
  UpstreamPeer* best = nullptr;
  int total = 0;
  size_t at = 0;
  for (size_t i = 0; i < set.peers.size(); ++i) {
    UpstreamPeer* peer = set.peers[i].get();
    if (tried_[i / 64] >> i % 64 & 1 || peer->down) continue;
    if (peer->max_fails && peer->fails >= peer->max_fails &&
        sec - peer->checked <= peer->fail_timeout)
      continue;
    if (peer->max_conns && peer->conns >= peer->max_conns) continue;
    peer->current_weight += peer->effective_weight;
    total += peer->effective_weight;
    if (peer->effective_weight < peer->weight) ++peer->effective_weight;
    if (best && peer->current_weight <= best->current_weight) continue;
    best = peer;
    at = i;
  }
  if (!best) return nullptr;
  best->current_weight -= total;
  tried_[at / 64] |= uint64_t{1} << at % 64;
  if (sec - best->checked > best->fail_timeout) best->checked = sec;
  return best;
}

int PeerWalk::next() {
  UpstreamPeer* peer = nullptr;
  if (group->single()) {
    peer = group->primary.peers[0].get();
    if (peer->down || (peer->max_conns && peer->conns >= peer->max_conns)) peer = nullptr;
  } else {
    peer = pick(*set_);
    if (!peer && set_ == &group->primary && !group->backup.peers.empty()) {
      MOONPHASE_LOG(r_, kLogDebug, 0, "backup servers");
      set_ = &group->backup;
      std::memset(tried_, 0, sizeof(uint64_t) * (group->backup.peers.size() / 64 + 1));
      peer = pick(*set_);
    }
  }
  current = peer;
  if (!peer) return kBusy;
  ++peer->conns;
  return kOk;
}

void PeerWalk::release(bool failed) {
  UpstreamPeer* peer = current;
  if (!peer) return;
  current = nullptr;
  --peer->conns;
  if (group->single()) {
    tries = 0;
    return;
  }
  if (failed) {
    ++peer->fails;
    peer->accessed = peer->checked = now().wall_sec();
    if (peer->max_fails) {
      peer->effective_weight = std::max(0, peer->effective_weight - peer->weight / peer->max_fails);
      if (peer->fails >= peer->max_fails)
        MOONPHASE_LOG(r_, kLogWarn, 0, "upstream server temporarily disabled");
    }
  } else if (peer->accessed < peer->checked) {
    peer->fails = 0;
  }
  if (tries) --tries;
}

}  // namespace moonphase::engine
