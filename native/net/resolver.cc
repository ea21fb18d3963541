#include "net/resolver.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <list>
#include <memory>
#include <unordered_map>

#include "base/error_level.h"
#include "net/dns_message.h"
#include "net/handle.h"

namespace moonphase::net {

const char* resolve_strerror(int code) {
  switch (code) {
    case 1:
      return "Format error";
    case 2:
      return "Server failure";
    case 3:
      return "Host not found";
    case 4:
      return "Unimplemented";
    case 5:
      return "Operation refused";
    case ETIMEDOUT:
      return "Operation timed out";
    default:
      return "Unknown error";
  }
}

namespace {

constexpr int kNameError = 3, kServerFailure = 2;
constexpr int64_t kResendMs = 5000;
constexpr size_t kCacheEntries = 4096;

uint16_t random16() {
  uint16_t v = 0;
  if (getrandom(&v, sizeof v, GRND_NONBLOCK) != sizeof v) v = static_cast<uint16_t>(uv_hrtime());
  return v;
}

void add_address(ResolveResult* result, const in6_addr& a, bool v6) {
  ResolvedAddress out{};
  if (v6) {
    auto* sin6 = reinterpret_cast<sockaddr_in6*>(&out.addr);
    sin6->sin6_family = AF_INET6;
    sin6->sin6_addr = a;
    out.len = sizeof *sin6;
  } else {
    auto* sin = reinterpret_cast<sockaddr_in*>(&out.addr);
    sin->sin_family = AF_INET;
    std::memcpy(&sin->sin_addr, &a, 4);
    out.len = sizeof *sin;
  }
  result->addresses.push_back(out);
}

}  // namespace

class Resolution {
 public:
  Resolver::Impl* resolver = nullptr;
  std::string name, cache_key;
  ResolverConf conf;
  Resolver::Done done = nullptr;
  void* data = nullptr;
  ResolveResult result;
  Timer deadline{}, resend{};
  // by our own client: one connected socket for both questions
  int fd = -1;
  uv_poll_t poll{};
  bool polling = false;
  size_t server = 0;
  int tries = 0;
  struct Question {
    bool wanted = false, answered = false, v6 = false;
    uint16_t id = 0;
    int code = 0;
    uint32_t ttl = 0;
  } questions[2];
  // by the system
  uv_getaddrinfo_t* lookup = nullptr;
  std::list<Resolution*>::iterator place;

  bool send_questions();
  void watch();
  void failed(int level, const char* what) const;
  void on_answer();
  void finish(int code);
};

struct Resolver::Impl {
  struct Cached {
    ResolveResult result;
    int64_t until;
  };
  Loop* loop;
  const Log* log;
  std::list<Resolution*> active;
  std::unordered_map<std::string, Cached> cache;
  size_t next_server = 0;

  void release(Resolution* r);
};

void Resolver::Impl::release(Resolution* r) {
  loop->clear_timer(&r->deadline);
  loop->clear_timer(&r->resend);
  active.erase(r->place);
  if (r->lookup) {
    r->lookup->data = nullptr;  // its callback frees it
    uv_cancel(reinterpret_cast<uv_req_t*>(r->lookup));
    r->lookup = nullptr;
  }
  if (!r->polling) {
    if (r->fd >= 0) ::close(r->fd);
    delete r;
    return;
  }
  uv_poll_stop(&r->poll);
  close_handle(
      reinterpret_cast<uv_handle_t*>(&r->poll),
      [](void* p) {
        std::unique_ptr<Resolution> owned(static_cast<Resolution*>(p));
        ::close(owned->fd);
      },
      r);
}

void Resolution::finish(int code) {
  result.code = result.addresses.empty() && code == 0 ? kNameError : code;
  if (result.code == 0 && !cache_key.empty()) {
    uint32_t ttl = UINT32_MAX;
    for (const Question& q : questions)
      if (q.wanted && q.answered && q.code == 0) ttl = q.ttl < ttl ? q.ttl : ttl;
    const int64_t keep = conf.valid ? conf.valid : (ttl == UINT32_MAX ? 0 : int64_t{ttl} * 1000);
    if (keep > 0) {
      if (resolver->cache.size() >= kCacheEntries) resolver->cache.clear();
      resolver->cache[cache_key] = {result, now().monotonic_ms + keep};
    }
  }
  const Resolver::Done call = done;
  void* const arg = data;
  const ResolveResult answer = std::move(result);
  resolver->release(this);
  call(arg, answer);
}

// `what() failed (111: Connection refused) while resolving, resolver: 127.0.0.1:53`
void Resolution::failed(int level, const char* what) const {
  struct Context final : LogContext {
    char* append(char* p, char* end) const override {
      const bool v6 = server->first.find(':') != std::string::npos;
      const int n =
          std::snprintf(p, static_cast<size_t>(end - p), " while resolving, resolver: %s%s%s:%d",
                        v6 ? "[" : "", server->first.c_str(), v6 ? "]" : "", server->second);
      return std::min(p + n, end);
    }
    const std::pair<std::string, int>* server = nullptr;
  };
  const int err = errno;
  if (!resolver->log || !resolver->log->enabled(level)) return;
  Context context;
  context.server = &conf.servers[server % conf.servers.size()];
  log_write(*resolver->log, &context, level, err, "%s failed", what);
}

void Resolution::watch() {
  uv_poll_start(&poll, UV_READABLE, [](uv_poll_t* h, int status, int) {
    auto* r = static_cast<Resolution*>(h->data);
    Loop::Scope scope(*r->resolver->loop);
    // libuv takes an error of the socket for the end of it; the next server's answer comes there,
    // too.
    if (status < 0) r->watch();
    r->on_answer();
  });
}

bool Resolution::send_questions() {
  const auto& [address, port] = conf.servers[server % conf.servers.size()];
  sockaddr_storage to{};
  socklen_t len = 0;
  auto* sin = reinterpret_cast<sockaddr_in*>(&to);
  auto* sin6 = reinterpret_cast<sockaddr_in6*>(&to);
  if (inet_pton(AF_INET, address.c_str(), &sin->sin_addr) == 1) {
    sin->sin_family = AF_INET;
    sin->sin_port = htons(static_cast<uint16_t>(port));
    len = sizeof *sin;
  } else if (inet_pton(AF_INET6, address.c_str(), &sin6->sin6_addr) == 1) {
    sin6->sin6_family = AF_INET6;
    sin6->sin6_port = htons(static_cast<uint16_t>(port));
    len = sizeof *sin6;
  } else {
    return false;
  }
  if (fd < 0) {
    fd = socket(to.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    if (uv_poll_init(resolver->loop->uv(), &poll, fd) != 0) return false;
    poll.data = this;
    polling = true;
    watch();
  }
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), len) != 0) {
    failed(kLogCrit, "connect()");
    return false;
  }
  for (Question& q : questions) {
    if (!q.wanted || q.answered) continue;
    const std::string query = dns_query(q.id, name, q.v6);
    // Where nobody listens the kernel says so at the next call. The next server gets its turn when
    // it is time to ask again.
    if (::send(fd, query.data(), query.size(), 0) < 0)
      failed(error_level(errno, kLogErr, kLogAlert), "send()");
  }
  return true;
}

void Resolution::on_answer() {
  char buf[4096];
  while (true) {
    const ssize_t n = ::recv(fd, buf, sizeof buf, 0);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) failed(error_level(errno, kLogErr, kLogAlert), "recv()");
      return;
    }
    for (Question& q : questions) {
      if (!q.wanted || q.answered) continue;
      DnsAnswer answer;
      if (!dns_parse({buf, static_cast<size_t>(n)}, q.id, name, q.v6, &answer)) continue;
      q.answered = true;
      q.code = answer.rcode;
      q.ttl = answer.ttl;
      for (const in6_addr& a : answer.addresses) add_address(&result, a, q.v6);
    }
    bool all = true;
    int code = 0;
    for (const Question& q : questions) {
      all = all && (!q.wanted || q.answered);
      if (q.wanted && q.answered && q.code) code = q.code;
    }
    if (all) return finish(result.addresses.empty() ? code : 0);
  }
}

Resolver::Resolver(Loop* loop, const Log* log) : impl_(new Impl{loop, log, {}, {}, 0}) {}

Resolver::~Resolver() {
  while (!impl_->active.empty()) impl_->release(impl_->active.front());
  delete impl_;
}

void Resolver::clear_cache() { impl_->cache.clear(); }

void Resolver::cancel(Resolution* r) { impl_->release(r); }

Resolution* Resolver::resolve(const ResolverConf& conf, Str name, int64_t timeout_ms, Done done,
                              void* data, ResolveResult* now_result) {
  std::string key;
  if (!conf.servers.empty()) {
    key.assign(name);
    for (char& c : key) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    key.append(conf.ipv4 ? "4" : "").append(conf.ipv6 ? "6" : "");
    for (const auto& [server, port] : conf.servers)
      key.append(" ").append(server).append(std::to_string(port));
    if (auto hit = impl_->cache.find(key); hit != impl_->cache.end()) {
      if (hit->second.until > now().monotonic_ms) {
        *now_result = hit->second.result;
        return nullptr;
      }
      impl_->cache.erase(hit);
    }
    if (dns_query(0, name, false).empty()) {
      now_result->code = kNameError;
      return nullptr;
    }
  }

  auto* r = new Resolution;
  r->resolver = impl_;
  r->name.assign(name);
  r->cache_key = std::move(key);
  r->conf = conf;
  r->done = done;
  r->data = data;
  impl_->active.push_front(r);
  r->place = impl_->active.begin();
  r->deadline.fn = [](void* p) { static_cast<Resolution*>(p)->finish(ETIMEDOUT); };
  r->deadline.data = r;
  impl_->loop->set_timer(&r->deadline, static_cast<uint64_t>(timeout_ms > 0 ? timeout_ms : 30000));

  if (!conf.servers.empty()) {
    for (int i = 0; i < 2; ++i) {
      r->questions[i].v6 = i == 1;
      r->questions[i].wanted = i == 1 ? conf.ipv6 : conf.ipv4;
      r->questions[i].id = random16();
    }
    r->server = impl_->next_server++;
    r->resend.data = r;
    r->resend.fn = [](void* p) {
      auto* self = static_cast<Resolution*>(p);
      ++self->server;
      self->send_questions();
      self->resolver->loop->set_timer(&self->resend, kResendMs);
    };
    if (!r->send_questions()) {
      impl_->release(r);
      now_result->code = kServerFailure;
      return nullptr;
    }
    impl_->loop->set_timer(&r->resend, kResendMs);
    return r;
  }

  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_family = conf.ipv4 ? (conf.ipv6 ? AF_UNSPEC : AF_INET) : AF_INET6;
  hints.ai_flags = AI_ADDRCONFIG;
  r->lookup = new uv_getaddrinfo_t;
  r->lookup->data = r;
  const int rc = uv_getaddrinfo(
      impl_->loop->uv(), r->lookup,
      [](uv_getaddrinfo_t* req, int status, addrinfo* list) {
        std::unique_ptr<uv_getaddrinfo_t> owned(req);
        auto* self = static_cast<Resolution*>(req->data);
        if (self) {
          self->lookup = nullptr;
          Loop::Scope scope(*self->resolver->loop);
          for (addrinfo* a = list; a; a = a->ai_next) {
            if (a->ai_family != AF_INET && a->ai_family != AF_INET6) continue;
            ResolvedAddress out{};
            std::memcpy(&out.addr, a->ai_addr, a->ai_addrlen);
            out.len = a->ai_addrlen;
            self->result.addresses.push_back(out);
          }
          self->finish(status == 0 ? 0 : status == UV_EAI_AGAIN ? kServerFailure : kNameError);
        }
        uv_freeaddrinfo(list);
      },
      r->name.c_str(), nullptr, &hints);
  if (rc != 0) {
    delete r->lookup;
    r->lookup = nullptr;
    impl_->release(r);
    now_result->code = kNameError;
    return nullptr;
  }
  return r;
}

}  // namespace moonphase::net
