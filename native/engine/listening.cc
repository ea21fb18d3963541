#include "engine/listening.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

namespace moonphase::engine {

namespace {

// An address in a sockaddr; 0: the text is none.
socklen_t make_address(const http::ListenConf& conf, sockaddr_storage* out) {
  std::memset(out, 0, sizeof *out);
  switch (conf.family) {
    case http::ListenConf::kInet: {
      auto* sin = reinterpret_cast<sockaddr_in*>(out);
      sin->sin_family = AF_INET;
      sin->sin_port = htons(static_cast<uint16_t>(conf.port));
      return inet_pton(AF_INET, conf.host.c_str(), &sin->sin_addr) == 1 ? sizeof *sin : 0;
    }
    case http::ListenConf::kInet6: {
      auto* sin6 = reinterpret_cast<sockaddr_in6*>(out);
      sin6->sin6_family = AF_INET6;
      sin6->sin6_port = htons(static_cast<uint16_t>(conf.port));
      std::string host = conf.host;
      if (host.starts_with('[')) host = host.substr(1, host.find(']') - 1);
      return inet_pton(AF_INET6, host.c_str(), &sin6->sin6_addr) == 1 ? sizeof *sin6 : 0;
    }
    case http::ListenConf::kUnix: {
      auto* un = reinterpret_cast<sockaddr_un*>(out);
      un->sun_family = AF_UNIX;
      if (conf.host.size() >= sizeof un->sun_path) return 0;
      std::memcpy(un->sun_path, conf.host.c_str(), conf.host.size() + 1);
      return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + conf.host.size() + 1);
    }
  }
  return 0;
}

net::ListenOptions options_of(const http::ListenConf& conf) {
  net::ListenOptions o;
  o.backlog = conf.backlog;
  o.reuseport = conf.reuseport;
  o.ipv6only = conf.ipv6only;
  o.deferred = conf.deferred;
  o.rcvbuf = conf.rcvbuf;
  o.sndbuf = conf.sndbuf;
  o.fastopen = conf.fastopen;
  o.keepalive = conf.so_keepalive;
  return o;
}

bool same_address(const sockaddr_storage& a, const sockaddr_storage& b) {
  if (a.ss_family != b.ss_family) return false;
  if (a.ss_family == AF_INET)
    return reinterpret_cast<const sockaddr_in&>(a).sin_addr.s_addr ==
           reinterpret_cast<const sockaddr_in&>(b).sin_addr.s_addr;
  return a.ss_family == AF_INET6 &&
         std::memcmp(&reinterpret_cast<const sockaddr_in6&>(a).sin6_addr,
                     &reinterpret_cast<const sockaddr_in6&>(b).sin6_addr, 16) == 0;
}

const http::ListenConf* conf_of(const Listening& l, int fd) {
  if (l.narrower.empty()) return l.conf;
  sockaddr_storage local{};
  socklen_t n = sizeof local;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&local), &n) != 0) return l.conf;
  for (const auto& [address, narrow] : l.narrower)
    if (same_address(address, local)) return narrow;
  return l.conf;
}

void accepted(void* data, int fd, const sockaddr* peer, socklen_t len) {
  auto* l = static_cast<Listening*>(data);
  http::accept_connection(l->server, conf_of(*l, fd), fd, peer, len);
}

std::unique_ptr<Listening> open(http::HttpServer* server, const http::ListenConf& conf, int fd,
                                std::string* error) {
  sockaddr_storage address;
  socklen_t len = make_address(conf, &address);
  int err = EINVAL;
  auto entry = std::make_unique<Listening>();
  entry->server = server;
  entry->name = conf.name;
  if (len)
    entry->listener = net::Listener::open(server->loop, reinterpret_cast<sockaddr*>(&address), len,
                                          options_of(conf), fd, accepted, entry.get(), &err);
  if (entry->listener) return entry;
  *error = "bind() to " + conf.name + " failed (" + std::to_string(err) + ": " +
           std::strerror(err) + ")";
  return nullptr;
}

}  // namespace

Listening::~Listening() {
  if (listener) listener->close();
}

void adopt_listening(const Plan& plan, std::vector<std::unique_ptr<Listening>>* all) {
  const http::ListenConf* first = plan.listens.empty() ? nullptr : plan.listens[0].get();
  for (auto& entry : *all) {
    const http::ListenConf* conf = successor(plan, entry->conf);
    entry->conf = conf ? conf : first;
    entry->narrower.clear();
  }
  std::erase_if(*all, [](const auto& entry) { return !entry->conf; });
}

bool listen_on(http::HttpServer* server, const Plan& plan, const std::vector<int>& fds,
               std::vector<std::unique_ptr<Listening>>* all, std::string* error) {
  std::vector<std::unique_ptr<Listening>> next;
  for (size_t i = 0; i < plan.listens.size(); ++i) {
    const http::ListenConf* conf = plan.listens[i].get();
    if (!conf->bind) continue;
    int fd = i < fds.size() ? fds[i] : -1;
    std::unique_ptr<Listening> entry;
    for (auto& old : *all) {
      if (old && (fd >= 0 ? old->listener->fd() == fd : old->name == conf->name)) {
        entry = std::move(old);
        break;
      }
    }
    if (!entry) entry = open(server, *conf, fd, error);
    if (!entry) return false;
    entry->conf = conf;
    entry->narrower.clear();
    next.push_back(std::move(entry));
  }
  for (const auto& conf : plan.listens) {
    sockaddr_storage address;
    if (conf->bind || !make_address(*conf, &address)) continue;
    for (auto& entry : next)
      if (entry->conf->wildcard && entry->conf->family == conf->family &&
          entry->conf->port == conf->port)
        entry->narrower.emplace_back(address, conf.get());
  }
  *all = std::move(next);
  return true;
}

const http::ListenConf* successor(const Plan& plan, const http::ListenConf* old) {
  for (const auto& conf : plan.listens)
    if (conf->name == old->name) return conf.get();
  return old->name == plan.hosted.name && plan.hosted.default_server ? &plan.hosted : nullptr;
}

}  // namespace moonphase::engine
