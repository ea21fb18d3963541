#include "engine/stapling.h"

#include <strings.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <utility>

#include "base/clock.h"
#include "engine/runtime.h"
#include "engine/sockets/socket_pool.h"
#include "engine/upstream/peer.h"
#include "net/staple.h"
#include "net/stream.h"

namespace moonphase::engine {

namespace {

constexpr uint64_t kTimeout = 60'000;   // ms, for each address
constexpr size_t kMostAnswer = 16'384;  // with its head
constexpr Str kType = "application/ocsp-response";

bool same(Str a, Str b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

Str trimmed(Str s) {
  while (s.starts_with(' ')) s.remove_prefix(1);
  while (s.ends_with(' ')) s.remove_suffix(1);
  return s;
}

bool digit(char c) { return c >= '0' && c <= '9'; }

// "HTTP/1.1 200 OK": 200; -1: something else.
int status_of(Str line) {
  if (!line.starts_with("HTTP/")) return -1;
  line.remove_prefix(5);
  const size_t space = line.find(' ');
  if (space == Str::npos) return -1;
  const Str version = line.substr(0, space);
  const size_t dot = version.find('.');
  if (dot == Str::npos || dot == 0 || dot + 1 == version.size() || version[0] == '0' ||
      !std::all_of(version.begin(), version.begin() + static_cast<ptrdiff_t>(dot), digit) ||
      !std::all_of(version.begin() + static_cast<ptrdiff_t>(dot) + 1, version.end(), digit))
    return -1;
  line = line.substr(space);
  while (line.starts_with(' ')) line.remove_prefix(1);
  if (line.size() < 3 || !std::all_of(line.begin(), line.begin() + 3, digit)) return -1;
  if (line.size() > 3 && line[3] != ' ' && line[3] != '.') return -1;
  int status = 0;
  std::from_chars(line.data(), line.data() + 3, status);
  return status;
}

bool name_byte(char c) {
  return digit(c) || c == '-' ||
         (static_cast<char>(c | 0x20) >= 'a' && static_cast<char>(c | 0x20) <= 'z');
}

}  // namespace

Stapler::Stapler(Generation* g, std::shared_ptr<net::Staple> staple, const LocConf* conf)
    : g_(g), staple_(std::move(staple)), resolver_timeout_(conf->resolver_timeout) {
  if (conf->resolver) {
    resolver_.servers = conf->resolver->servers;
    resolver_.valid = conf->resolver->valid;
    resolver_.ipv4 = conf->resolver->ipv4;
    resolver_.ipv6 = conf->resolver->ipv6;
  }
  action = "requesting certificate status";
  timer_.data = this;
  timer_.fn = [](void* p) {
    auto* self = static_cast<Stapler*>(p);
    self->say(kLogErr, ETIMEDOUT, "OCSP responder timed out");
    self->next();
  };
  staple_->asked = [](void* p) { static_cast<Stapler*>(p)->ask(); };
  staple_->asked_data = this;
}

Stapler::~Stapler() {
  disconnect();
  if (resolving_) socket_pools(g_).resolver.cancel(resolving_);
  staple_->asked = nullptr;
  staple_->loading = false;
}

char* Stapler::append(char* p, char* end) const {
  const int n =
      snprintf(p, static_cast<size_t>(end - p), " while %s, responder: %s%s%s, certificate: \"%s\"",
               action, staple_->host().c_str(), peer_.empty() ? "" : ", peer: ", peer_.c_str(),
               staple_->name().c_str());
  return n < 0 ? p : n < end - p ? p + n : end;
}

void Stapler::say(int level, int err, const char* text) const {
  const Log& log = g_->plan->error_log;
  if (log.enabled(level)) log_write(log, this, level, err, "%s", text);
}

// A handshake has looked for the staple.
void Stapler::ask() {
  if (staple_->loading || !staple_->due(now().wall_sec())) return;
  staple_->loading = true;
  addresses_.clear();
  address_ = 0;
  peer_.clear();
  std::string error;
  target_ = staple_->target(&error);
  if (target_.empty()) {
    say(kLogCrit, 0, error.c_str());
    return fail();
  }
  net::ResolvedAddress literal;
  if (literal_address(staple_->host(), staple_->port(), &literal.addr, &literal.len)) {
    addresses_.push_back(literal);
    return connect();
  }
  net::ResolveResult known;
  resolving_ = socket_pools(g_).resolver.resolve(
      resolver_, staple_->host(), resolver_timeout_,
      [](void* p, const net::ResolveResult& result) {
        auto* self = static_cast<Stapler*>(p);
        self->resolving_ = nullptr;
        self->resolved(result);
      },
      this, &known);
  if (!resolving_) resolved(known);
}

void Stapler::resolved(const net::ResolveResult& result) {
  if (result.code) {
    const std::string text = staple_->host() + " could not be resolved (" +
                             std::to_string(result.code) + ": " +
                             net::resolve_strerror(result.code) + ")";
    say(kLogErr, 0, text.c_str());
    return fail();
  }
  addresses_ = result.addresses;
  for (net::ResolvedAddress& one : addresses_) set_port(&one.addr, staple_->port());
  if (addresses_.empty()) return fail();
  connect();
}

void Stapler::connect() {
  static constexpr net::Stream::Events kEvents = {
      [](void* p) { static_cast<Stapler*>(p)->receive(); },
      [](void* p) { static_cast<Stapler*>(p)->send(); }};
  const net::ResolvedAddress& to = addresses_[address_];
  peer_ = address_name(to.addr);
  net::Loop* loop = net::current_loop();
  stream_ = net::Stream::connect(loop, reinterpret_cast<const sockaddr*>(&to.addr), to.len, nullptr,
                                 0, kEvents, this);
  if (!stream_) {
    const int err = errno;
    say(kLogErr, err, ("connect() to " + peer_ + " failed").c_str());
    return next();
  }
  stream_->ref(false);
  request_ = "GET " + target_ + " HTTP/1.0\r\nHost: " + staple_->host() + "\r\n\r\n";
  sent_ = 0;
  answer_.clear();
  parsed_ = 0;
  stage_ = kStatusLine;
  status_ = 0;
  length_ = -1;
  loop->set_timer(&timer_, kTimeout);
  stream_->want_read(true);
  stream_->want_write(true);
}

// Another address, if there is one.
void Stapler::next() {
  disconnect();
  if (++address_ >= addresses_.size()) return fail();
  connect();
}

void Stapler::fail() { staple_->failed(now().wall_sec()); }

void Stapler::disconnect() {
  net::current_loop()->clear_timer(&timer_);
  if (stream_) std::exchange(stream_, nullptr)->close();
}

void Stapler::send() {
  const iovec rest{request_.data() + sent_, request_.size() - sent_};
  const ssize_t n = stream_->send(&rest, 1);
  if (n == net::kIoError) {
    say(kLogErr, stream_->error(), "send() failed");
    return next();
  }
  if (n > 0) sent_ += static_cast<size_t>(n);
  if (sent_ == request_.size()) stream_->want_write(false);
}

void Stapler::receive() {
  for (;;) {
    const size_t had = answer_.size();
    ssize_t n = 0;
    if (had < kMostAnswer) {
      answer_.resize(kMostAnswer);
      n = stream_->recv(answer_.data() + had, kMostAnswer - had);
      answer_.resize(had + static_cast<size_t>(std::max<ssize_t>(n, 0)));
      if (n == net::kIoAgain) return;
      if (n == net::kIoError) say(kLogErr, stream_->error(), "recv() failed");
    }
    const Rc rc = process(n <= 0);
    if (rc == kDone) return finish();
    if (rc == kError) return next();
    if (n > 0) continue;
    say(kLogErr, 0, "OCSP responder prematurely closed connection");
    return next();
  }
}

// kDone: the answer is complete; kAgain: it is not; kError: it is none (logged).
Rc Stapler::process(bool ended) {
  while (stage_ != kBody) {
    const Str rest = Str(answer_).substr(parsed_);
    const size_t end = rest.find('\n');
    const Str line = rest.substr(0, end == Str::npos ? 5 : end);
    if (stage_ == kStatusLine && !Str("HTTP/").starts_with(line.substr(0, 5))) {
      say(kLogErr, 0, "OCSP responder sent invalid response");
      return kError;
    }
    if (end == Str::npos) return kAgain;
    parsed_ += end + 1;
    if (process_line(line.ends_with('\r') ? line.substr(0, end - 1) : line) == kError)
      return kError;
  }
  const auto have = static_cast<int64_t>(answer_.size() - parsed_);
  return ended || (length_ >= 0 && have >= length_) ? kDone : kAgain;
}

Rc Stapler::process_line(Str line) {
  if (stage_ == kStatusLine) {
    status_ = status_of(line);
    stage_ = kHeaders;
    if (status_ >= 0) return kOk;
    say(kLogErr, 0, "OCSP responder sent invalid response");
    return kError;
  }
  if (line.empty()) {
    stage_ = kBody;
    return kOk;
  }
  const size_t colon = std::min(line.find(':'), line.size());
  const Str name = line.substr(0, colon);
  if (name.empty() || !std::all_of(name.begin(), name.end(), name_byte)) {
    say(kLogErr, 0, "OCSP responder sent invalid response");
    return kError;
  }
  const Str value = trimmed(line.substr(std::min(colon + 1, line.size())));
  if (same(name, "Content-Type") && !same(value, kType)) {
    const std::string text =
        "OCSP responder sent invalid \"Content-Type\" header: \"" + std::string(value) + '"';
    say(kLogErr, 0, text.c_str());
    return kError;
  }
  if (same(name, "Content-Length")) {
    int64_t length = -1;
    const auto [p, wrong] = std::from_chars(value.data(), value.data() + value.size(), length);
    if (wrong == std::errc() && p == value.data() + value.size()) length_ = length;
  }
  return kOk;
}

void Stapler::finish() {
  const int64_t time = now().wall_sec();
  std::string error;
  if (status_ != 200)
    staple_->failed(time);
  else if (!staple_->take(Str(answer_).substr(parsed_), time, &error))
    say(kLogErr, 0, error.c_str());
  disconnect();
}

void start_stapling(Generation* g) {
  if (g->runtime->options.test) return;
  for (const auto& server : g->plan->servers) {
    const net::Staples* all =
        server->tls_context ? net::staples_of(server->tls_context.get()) : nullptr;
    if (!all) continue;
    for (const auto& staple : *all)
      if (!staple->host().empty())
        g->staplers.push_back(
            std::make_unique<Stapler>(g, staple, static_cast<const LocConf*>(server->conf)));
  }
}

}  // namespace moonphase::engine
