#include "engine/upstream/peer.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <strings.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstddef>

#include "engine/lifecycle.h"
#include "engine/sockets/peer.h"
#include "engine/upstream/zone.h"
#include "net/tls_client.h"

namespace moonphase::engine {

namespace {

bool same_text(Str a, Str b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
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

UpstreamPeer* add_peer(Peers::Set& set, const net::ResolvedAddress& address, Str server) {
  set.peers.push_back(std::make_shared<UpstreamPeer>());
  UpstreamPeer* peer = set.peers.back().get();
  peer->addr = address.addr;
  peer->len = address.len;
  peer->name = address_name(address.addr);
  peer->server = server;
  return peer;
}

}  // namespace

void split_address(const std::string& text, std::string* host, int* port) {
  *port = 0;
  *host = text;
  if (text.starts_with("unix:")) return;
  size_t colon = text.rfind(':');
  if (colon == std::string::npos) return;
  std::from_chars(text.data() + colon + 1, text.data() + text.size(), *port);
  host->resize(colon);
}

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
  // balancer_by_lua names a server for each request: inet_ntop's sprintf would be most of it.
  auto* v4 = reinterpret_cast<const sockaddr_in*>(&addr);
  const auto* bytes = reinterpret_cast<const uint8_t*>(&v4->sin_addr);
  char *p = text, *end = text + sizeof text;
  for (int i = 0; i < 4; ++i) {
    p = std::to_chars(p, end, bytes[i]).ptr;
    *p++ = i < 3 ? '.' : ':';
  }
  return std::string(text, std::to_chars(p, end, ntohs(v4->sin_port)).ptr);
}

UpstreamPeer::~UpstreamPeer() { net::free_session(tls_session); }

void release(Peers* peers) {
  if (peers && --peers->refs == 0) delete peers;
}

UpstreamGroup::~UpstreamGroup() { release(peers); }

void UpstreamGroup::replace(Peers* fresh) {
  release(peers);
  peers = fresh;
}

// --- groups ---

UpstreamGroups& groups_of(const Plan& plan) {
  return *static_cast<UpstreamGroups*>(plan.main_conf->module[kModUpstream].get());
}

void close_idle_upstreams(const Plan& plan) {
  if (!plan.main_conf) return;
  auto close = [](UpstreamGroup& group) {
    if (group.keepalive) group.keepalive->close_all();
    if (group.lua_keepalive) group.lua_keepalive->close_all();
  };
  for (const auto& group : groups_of(plan)) close(*group);
  for (const auto& zone : plan.zones) zone->each_added(close);
}

void make_keepalive(UpstreamGroup* group, const Log* log) {
  const UpstreamPlan* plan = group->plan;
  if (plan->keepalive > 0)
    group->keepalive = std::make_unique<UpstreamKeepalive>(plan->keepalive, plan->keepalive_local);
  if (plan->balancer)
    group->lua_keepalive =
        std::make_unique<UpstreamKeepalive>(plan->balancer_keepalive, false, log);
}

bool seal_upstreams(Plan& plan, std::string* error) {
  if (!plan.main_conf) return true;
  plan.main_conf->module[kModUpstream] = std::make_shared<UpstreamGroups>();
  for (const auto& up : plan.upstreams) {
    auto group = std::make_unique<UpstreamGroup>();
    group->name = up->name;
    group->plan = up.get();
    auto* peers = new Peers;
    group->replace(peers);
    peers->placeholder = up->placeholder;
    make_keepalive(group.get(), &plan.error_log);
    bool resolves = false;
    for (UpstreamServerPlan& server : up->servers) {
      std::string host;
      int port;
      split_address(server.address, &host, &port);
      sockaddr_storage literal;
      socklen_t len;
      server.resolve = server.resolve && !literal_address(host, port, &literal, &len);
      if (server.resolve) {
        resolves = true;
        if (up->resolver || plan.main_conf->resolver) continue;
        *error = "no resolver defined to resolve names at run time in upstream \"" + up->name +
                 "\" in " + up->where.file + ":" + std::to_string(up->where.line);
        return false;
      }
      std::vector<net::ResolvedAddress> addresses;
      if (!lookup(host, port, &addresses)) {
        *error = "host not found in upstream \"" + server.name + "\" in " + up->where.file + ":" +
                 std::to_string(up->where.line);
        return false;
      }
      for (const net::ResolvedAddress& address : addresses) {
        UpstreamPeer* peer =
            add_peer(server.backup ? peers->backup : peers->primary, address, server.name);
        peer->backup = server.backup;
        peer->own = state_of(server);
        server.addresses.push_back(peer->name);
      }
    }
    if (peers->primary.peers.empty() && !resolves) {
      *error = "no servers in upstream \"" + up->name + "\" in " + up->where.file + ":" +
               std::to_string(up->where.line);
      return false;
    }
    seal_peers(*peers, up->method, up->hash_consistent);
    groups_of(plan).push_back(std::move(group));
  }
  return true;
}

PeerState state_of(const UpstreamServerPlan& server) {
  PeerState s;
  s.weight = s.effective_weight = server.weight;
  s.max_fails = server.max_fails;
  s.max_conns = server.max_conns;
  s.fail_timeout = server.fail_timeout / 1000;
  s.down = server.down;
  return s;
}

UpstreamGroup* find_group(const Plan& plan, Str host, int port, bool no_port) {
  for (const auto& group : groups_of(plan))
    if (same_text(group->name, host) && ((group->port == 0 && no_port) || group->port == port))
      return group.get();
  if (!no_port) return nullptr;
  for (const auto& zone : plan.zones)
    if (UpstreamGroup* group = zone->find(host)) return group;
  return nullptr;
}

UpstreamGroup* group_for(Plan& plan, Str host, int port, bool no_port, const Where& where,
                         std::string* error) {
  if (UpstreamGroup* known = find_group(plan, host, port, no_port)) return known;
  auto group = std::make_unique<UpstreamGroup>();
  group->name = host;
  group->port = port;
  group->replace(new Peers);
  std::vector<net::ResolvedAddress> addresses;
  if (!lookup(group->name, port, &addresses)) {
    *error = "host not found in upstream \"" + group->name + "\" in " + where.file + ":" +
             std::to_string(where.line);
    return nullptr;
  }
  for (const net::ResolvedAddress& address : addresses)
    add_peer(group->peers->primary, address, host);
  seal_peers(*group->peers, UpstreamMethod::kRoundRobin, false);
  groups_of(plan).push_back(std::move(group));
  return groups_of(plan).back().get();
}

UpstreamGroup* make_group(Request* r, Str host, int port,
                          const std::vector<net::ResolvedAddress>& addresses) {
  auto* group = new UpstreamGroup;
  r->pool->on_destroy([](void* p) { delete static_cast<UpstreamGroup*>(p); }, group);
  group->name = host;
  group->port = port;
  group->replace(new Peers);
  for (net::ResolvedAddress address : addresses) {
    set_port(&address.addr, port);
    add_peer(group->peers->primary, address, host);
  }
  seal_peers(*group->peers, UpstreamMethod::kRoundRobin, false);
  return group;
}

}  // namespace moonphase::engine
