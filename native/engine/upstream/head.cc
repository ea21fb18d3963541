// The head of an upstream's answer: what single headers mean, and which of them the client gets.
#include <strings.h>

#include "base/clock.h"
#include "engine/lifecycle.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/upstream/cache.h"
#include "engine/variables/variables.h"
#include "http/headers_in.h"
#include "http/headers_out.h"
#include "http/output.h"
#include "http/uri.h"

namespace moonphase::engine {

namespace {

using http::HeadersOut;

bool same_text(Str a, Str b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// The answer's header as the client's: the same strings, its own place in the list.
Header* copy_line(Request* r, const Header* h) {
  Header* to = r->headers_out.list.push(*r->pool);
  *to = *h;
  to->same = nullptr;
  return to;
}

void copy_location(Request* r, Upstream& u, const Header* h) {
  Header* to = copy_line(r, h);
  if (u.protocol->rewrite_location) {
    if (u.protocol->rewrite_location(u, to, 0)) {
      r->headers_out.location = to;
      MOONPHASE_LOG(r, kLogDebug, 0, "rewritten location: \"%.*s\"", STR(to->value));
    }
    return;
  }
  // A relative one stays as it is: the header filter would put scheme and host before it.
  if (!to->value.starts_with('/')) r->headers_out.location = to;
}

void copy_refresh(Request* r, Upstream& u, const Header* h) {
  Header* to = copy_line(r, h);
  if (u.protocol->rewrite_location) {
    for (size_t i = 0; i + 4 <= to->value.size(); ++i) {
      if (strncasecmp(to->value.data() + i, "url=", 4) != 0) continue;
      u.protocol->rewrite_location(u, to, i + 4);
      break;
    }
  }
  r->headers_out.refresh = to;
}

void copy_modified(Request* r, Upstream& u, const Header* h) {
  r->headers_out.last_modified = copy_line(r, h);
  r->headers_out.last_modified_time = u.head.last_modified_time;
}

// What is known about a header of an answer.
struct Known {
  Str lower;
  enum In : uint8_t {
    kNothing,
    kOnce,  // the first counts, others are dropped with a warning
    kLength,
    kModified,
    kAuthenticate,
    kLimitRate,
    kBuffering,
    kCharset,
    kConnection,
    kEncoding,
  } in;
  Header* UpstreamHead::*slot;
  enum Out : uint8_t {
    kCopy,
    kDrop,
    kType,
    kLocation,
    kRefresh,
    kCookie,
    kOutModified,
    kSlot,
    kMulti
  } out;
  Header* HeadersOut::*to;
  bool redirect;  // goes along with X-Accel-Redirect
};

using H = UpstreamHead;
using O = HeadersOut;
constexpr Known kKnown[] = {
    {"status", Known::kOnce, &H::status_header, Known::kCopy, nullptr, false},
    {"content-type", Known::kOnce, &H::content_type, Known::kType, nullptr, true},
    {"content-length", Known::kLength, &H::content_length, Known::kDrop, nullptr, false},
    {"date", Known::kOnce, &H::date, Known::kSlot, &O::date, false},
    {"last-modified", Known::kModified, &H::last_modified, Known::kOutModified, nullptr, false},
    {"etag", Known::kOnce, &H::etag, Known::kSlot, &O::etag, false},
    {"server", Known::kOnce, &H::server, Known::kSlot, &O::server, false},
    {"www-authenticate", Known::kAuthenticate, &H::www_authenticate, Known::kCopy, nullptr, false},
    {"location", Known::kOnce, &H::location, Known::kLocation, nullptr, false},
    {"refresh", Known::kOnce, &H::refresh, Known::kRefresh, nullptr, false},
    {"set-cookie", Known::kNothing, nullptr, Known::kCookie, nullptr, true},
    {"content-disposition", Known::kNothing, nullptr, Known::kCopy, nullptr, true},
    {"cache-control", Known::kNothing, nullptr, Known::kMulti, &O::cache_control, true},
    {"expires", Known::kOnce, &H::expires, Known::kSlot, &O::expires, true},
    {"accept-ranges", Known::kNothing, nullptr, Known::kSlot, &O::accept_ranges, true},
    {"content-range", Known::kNothing, nullptr, Known::kSlot, &O::content_range, false},
    {"connection", Known::kConnection, nullptr, Known::kDrop, nullptr, false},
    {"keep-alive", Known::kNothing, nullptr, Known::kDrop, nullptr, false},
    {"link", Known::kNothing, nullptr, Known::kMulti, &O::link, false},
    {"x-accel-expires", Known::kOnce, &H::x_accel_expires, Known::kCopy, nullptr, false},
    {"x-accel-redirect", Known::kOnce, &H::x_accel_redirect, Known::kCopy, nullptr, false},
    {"x-accel-limit-rate", Known::kLimitRate, &H::x_accel_limit_rate, Known::kCopy, nullptr, false},
    {"x-accel-buffering", Known::kBuffering, nullptr, Known::kCopy, nullptr, false},
    {"x-accel-charset", Known::kCharset, nullptr, Known::kCopy, nullptr, false},
    {"transfer-encoding", Known::kEncoding, &H::transfer_encoding, Known::kDrop, nullptr, false},
    {"content-encoding", Known::kNothing, nullptr, Known::kSlot, &O::content_encoding, false},
};

constexpr http::NameTable<Known, std::size(kKnown), http::longest_name(kKnown)> kByName(kKnown);
const Known* known(Str lower) { return kByName.find(lower); }

int duplicate(Request* r, const Header* h, const Header* before, bool fatal) {
  MOONPHASE_LOG(
      r, fatal ? kLogErr : kLogWarn, 0,
      "upstream sent duplicate header line: \"%.*s: %.*s\", previous value: \"%.*s: %.*s\"%s",
      STR(h->name), STR(h->value), STR(before->name), STR(before->value), fatal ? "" : ", ignored");
  return fatal ? kInvalidHeader : int{kOk};
}

int both_lengths(Request* r) {
  MOONPHASE_LOG(
      r, kLogErr, 0,
      "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time");
  return kInvalidHeader;
}

bool contains(Str text, Str lower) {
  for (size_t i = 0; i + lower.size() <= text.size(); ++i)
    if (strncasecmp(text.data() + i, lower.data(), lower.size()) == 0) return true;
  return false;
}

// False: it goes to the client no more than once, or as the filters see fit.
void copy_known(Request* r, Upstream& u, const Known& k, const Header* h) {
  switch (k.out) {
    case Known::kCopy:
      copy_line(r, h);
      break;
    case Known::kDrop:
      break;
    case Known::kType:
      http::set_content_type_as_sent(r, h->value);
      break;
    case Known::kLocation:
      copy_location(r, u, h);
      break;
    case Known::kRefresh:
      copy_refresh(r, u, h);
      break;
    case Known::kCookie: {
      Header* to = copy_line(r, h);
      if (u.protocol->rewrite_cookie) u.protocol->rewrite_cookie(u, to);
      break;
    }
    case Known::kOutModified:
      copy_modified(r, u, h);
      break;
    case Known::kSlot:
      r->headers_out.*k.to = copy_line(r, h);
      break;
    case Known::kMulti: {
      Header** end = &(r->headers_out.*k.to);
      while (*end) end = &(*end)->same;
      *end = copy_line(r, h);
      break;
    }
  }
}

}  // namespace

int upstream_header_line(Upstream& u, Header* h) {
  if (u.cache) u.cache->header_line(*h);
  const Known* k = known(h->lower);
  if (!k || k->in == Known::kNothing) return kOk;
  Request* r = u.r;
  UpstreamHead& head = u.head;
  Header* before = k->slot ? head.*k->slot : nullptr;
  switch (k->in) {
    case Known::kLength:
      if (before) return duplicate(r, h, before, true);
      if (head.transfer_encoding) return both_lengths(r);
      head.content_length_n = http::parse_offset(h->value);
      if (head.content_length_n < 0) {
        MOONPHASE_LOG(r, kLogErr, 0,
                      "upstream sent invalid \"Content-Length\" header: \"%.*s: %.*s\"",
                      STR(h->name), STR(h->value));
        return kInvalidHeader;
      }
      break;
    case Known::kEncoding:
      if (before) return duplicate(r, h, before, true);
      if (head.content_length) return both_lengths(r);
      if (!same_text(h->value, "chunked")) {
        MOONPHASE_LOG(r, kLogErr, 0, "upstream sent unknown \"Transfer-Encoding\": \"%.*s\"",
                      STR(h->value));
        return kInvalidHeader;
      }
      head.chunked = true;
      break;
    case Known::kAuthenticate: {
      Header** end = &head.www_authenticate;
      while (*end) end = &(*end)->same;
      *end = h;
      return kOk;
    }
    case Known::kConnection:
      if (contains(h->value, "close")) head.connection_close = true;
      return kOk;
    case Known::kBuffering:
      if (u.conf->ignore_headers & kIgnoreBuffering || !u.conf->change_buffering) return kOk;
      if (same_text(h->value, "no")) u.buffering = false;
      if (same_text(h->value, "yes")) u.buffering = true;
      return kOk;
    case Known::kCharset:
      if (!(u.conf->ignore_headers & kIgnoreCharset)) r->headers_out.override_charset = h->value;
      return kOk;
    default:
      if (before) {
        duplicate(r, h, before, false);
        h->hash = 0;
        return kOk;
      }
      if (k->in == Known::kModified) head.last_modified_time = parse_http_date(h->value);
      if (k->in == Known::kLimitRate && !(u.conf->ignore_headers & kIgnoreLimitRate)) {
        if (int64_t n = http::parse_offset(h->value); n >= 0) {
          r->limit_rate = static_cast<uint64_t>(n);
          r->limit_rate_set = true;
        }
      }
  }
  if (k->slot) head.*k->slot = h;
  return kOk;
}

// A status that `proxy_next_upstream` names: the next server is asked, if there is one.
bool Upstream::test_next() {
  static constexpr std::pair<int, uint32_t> kStatuses[] = {
      {500, kFail500}, {502, kFail502}, {503, kFail503}, {504, kFail504},
      {403, kFail403}, {404, kFail404}, {429, kFail429}};
  for (const auto& [status, failure] : kStatuses) {
    if (head.status != status) continue;
    bool late = conf->next_timeout && now().monotonic_ms - begin_ms_ >= conf->next_timeout;
    uint32_t mask = failure;
    if (request_sent_ && (r->method & (http::kPost | http::kLock | http::kPatch)))
      mask |= kFailNonIdempotent;
    if (walk_.tries <= 1 || (conf->next_upstream & mask) != mask || late ||
        (request_sent_ && r->request_body_no_buffering))
      return false;
    next(failure);
    return true;
  }
  return false;
}

// proxy_intercept_errors: an error_page of ours instead of the server's; of memcached, our 404.
bool Upstream::intercept() {
  if (head.status == 404 && conf->intercept_404) {
    finalize(404);
    return true;
  }
  if (!conf->intercept_errors) return false;
  for (const http::ErrorPage& page : loc(r)->error_page) {
    for (int code : page.codes) {
      if (code != head.status) continue;
      if (code == 401)
        for (Header* h = head.www_authenticate; h; h = h->same)
          http::add_header_out(r, h->name, h->value);
      finalize(code);
      return true;
    }
  }
  return false;
}

// False: it has ended another way.
bool Upstream::copy_head() {
  if (head.x_accel_redirect && !(conf->ignore_headers & kIgnoreRedirect)) {
    finalize(kDeclined);
    for (Header& h : head.list) {
      const Known* k = h.hash ? known(h.lower) : nullptr;
      if (k && k->redirect) copy_known(r, *this, *k, &h);
    }
    Str to = head.x_accel_redirect->value, args;
    if (to.starts_with('@')) {
      named_location(r, to);
    } else {
      unsigned flags = http::kLogUnsafe;
      if (http::parse_unsafe_uri(r, &to, &args, &flags) != kOk) {
        finalize_request(r, 404);
        return false;
      }
      if (r->method != http::kHead) {
        r->method = http::kGet;
        r->method_name = "GET";
      }
      internal_redirect(r, to, args);
    }
    finalize_request(r, kDone);
    return false;
  }

  for (Header& h : head.list) {
    if (h.hash == 0 || conf->hidden.has(h.lower)) continue;
    if (conf->force_ranges && h.lower == "accept-ranges") continue;
    // The whole answer will be here: its parts are ours to give.
    if ((cacheable || (cache && cache->sending)) && h.lower == "accept-ranges") {
      r->allow_ranges = true;
      r->single_range = cacheable;
      continue;
    }
    if (const Known* k = known(h.lower))
      copy_known(r, *this, *k, &h);
    else
      copy_line(r, &h);
  }
  // Passed on, but the server has sent none: then the client gets none, not ours.
  static constexpr std::pair<Str, Header * HeadersOut::*> kOwn[] = {{"server", &HeadersOut::server},
                                                                    {"date", &HeadersOut::date}};
  for (const auto& [name, slot] : kOwn) {
    if (r->headers_out.*slot || conf->hidden.has(name)) continue;
    Header* none = r->pool->make<Header>();
    none->name = none->lower = name;
    r->headers_out.*slot = none;
  }
  r->headers_out.status = head.status;
  r->headers_out.status_line = head.status_line;
  r->headers_out.content_length_n = head.content_length_n;
  r->disable_not_modified = !cacheable;
  if (conf->force_ranges) {
    r->allow_ranges = true;
    r->single_range = !(cache && cache->sending);
  }
  length = -1;
  return true;
}

}  // namespace moonphase::engine
