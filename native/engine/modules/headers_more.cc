#include "engine/modules/headers_more.h"

#include <algorithm>

#include "engine/lifecycle.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"
#include "http/headers_in.h"
#include "http/headers_out.h"
#include "http/output.h"
#include "http/virtual_server.h"

namespace moonphase::engine {

namespace {

const HeadersMoreConf* conf_of(const LocConf* conf) {
  return static_cast<const HeadersMoreConf*>(conf->module[kModHeadersMore].get());
}

// With a NUL behind it, for those who read headers as C strings.
Str value_of(Request* r, const Complex& value) {
  if (value.literal()) return value.text;
  Str text = eval(r, value);
  return text.empty() ? Str() : Str(r->pool->c_str(text), text.size());
}

template <class List, class T>
bool contains(const List& list, const T& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

bool starts_with_nocase(Str name, Str lower) {
  if (name.size() < lower.size()) return false;
  for (size_t i = 0; i < lower.size(); ++i) {
    char c = name[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c) != lower[i]) return false;
  }
  return true;
}

// --- the answer ---

// The first of them gets the value, the others go.
void set_wildcard(Request* r, const MoreHeaders::Header& header, Str value) {
  bool matched = false;
  for (http::Header& h : r->headers_out.list) {
    if (!h.hash || !starts_with_nocase(h.name, header.lower)) continue;
    if (value.empty() || matched) {
      h.hash = 0;
      h.value = {};
    } else {
      h.value = value;
    }
    matched = true;
  }
}

int set_out(Request* r, const MoreHeaders& rule, const MoreHeaders::Header& header) {
  Str value = value_of(r, header.value);
  if (header.wildcard) {
    set_wildcard(r, header, value);
    return kOk;
  }
  if (header.lower == "accept-ranges" && value.empty()) r->allow_ranges = false;
  if (int rc = http::headers_out_set(r, header.name, value, !rule.append); rc != kOk) return rc;
  if (header.lower == "content-type") http::set_content_type_as_sent(r, value);
  // Scheme and host go in front of a path, unlike that of ngx.header.
  if (header.lower == "location" && value.starts_with('/'))
    r->headers_out.location = r->headers_out.list.find("location");
  return kOk;
}

bool applies_to_answer(const Request* r, const MoreHeaders& rule) {
  const http::HeadersOut& out = r->headers_out;
  Str type = out.content_type.substr(0, out.content_type_len);
  if (!rule.types.empty() && !contains(rule.types, type)) return false;
  return rule.statuses.empty() || contains(rule.statuses, out.status);
}

int header_filter(Request* r) {
  const HeadersMoreConf* conf = conf_of(loc(r));
  if (conf && !conf->out.empty()) {
    MOONPHASE_LOG(r, kLogDebug, 0, "headers more header filter, uri \"%.*s\"", STR(r->uri));
    for (const MoreHeaders& rule : conf->out) {
      if (!applies_to_answer(r, rule)) continue;
      for (const MoreHeaders::Header& header : rule.headers)
        if (int rc = set_out(r, rule, header); rc != kOk) return rc;
    }
  }
  return http::next_header(r, http::Slot::kHeadersMore);
}

// --- the request ---

void clear_wildcard(Request* r, const MoreHeaders::Header& header) {
  for (http::Header& h : r->headers_in.list) {
    if (!h.hash || !h.lower.starts_with(header.lower)) continue;
    h.hash = 0;
    http::headers_in_relink(r, h.lower);
  }
}

// What the server itself reads of the header must make sense.
bool acceptable(Request* r, Str lower, Str value) {
  if (lower == "host") return http::validate_host(*r->pool, &value);
  return lower != "content-length" || http::parse_offset(value) >= 0;
}

int set_in(Request* r, const MoreHeaders& rule, const MoreHeaders::Header& header) {
  Str value = value_of(r, header.value);
  if (header.wildcard) {
    if (value.empty()) clear_wildcard(r, header);
    return kOk;
  }
  if (value.empty()) {
    http::headers_in_set(r, header.name, nullptr, true);
    return kOk;
  }
  bool there = r->headers_in.list.find(header.lower);
  if (!there && rule.replace) return kOk;
  if (!acceptable(r, header.lower, value)) return kError;
  http::headers_in_set(r, header.name, &value, true);
  if (header.lower == "connection" && r->headers_in.connection_type == http::HeadersIn::kClose) {
    r->headers_in.keep_alive_n = -1;
    r->keepalive = false;
  }
  // A new header of those that the server knows is the parents' too.
  if (!there && http::known_in(header.lower))
    for (Request* sr = r; !sr->is_main(); sr = sr->parent) sr->parent->headers_in = sr->headers_in;
  return kOk;
}

int rewrite_handler(Request* r) {
  const HeadersMoreConf* conf = conf_of(loc(r));
  MOONPHASE_LOG(r, kLogDebug, 0, "headers more rewrite handler, uri \"%.*s\"", STR(r->uri));
  if (!conf || r->http_version < http::kVersion10) return kDeclined;
  // A request line that could not be read: there are no headers to change.
  if (r->http_protocol.empty()) return kDeclined;
  for (const MoreHeaders& rule : conf->in) {
    const http::Header* type = r->headers_in.content_type;
    if (!rule.types.empty() && (!type || !contains(rule.types, type->value))) continue;
    for (const MoreHeaders::Header& header : rule.headers)
      if (int rc = set_in(r, rule, header); rc != kOk) return rc;
  }
  return kDeclined;
}

bool rewrite_used(const Plan& plan) {
  for (const auto& conf : plan.confs)
    if (const HeadersMoreConf* more = conf_of(conf.get()); more && !more->in.empty()) return true;
  return false;
}

}  // namespace

void register_headers_more() {
  http::filters().add(http::Slot::kHeadersMore, header_filter, nullptr);
  add_step({Phase::kRewrite, rewrite_handler, rewrite_used});
}

}  // namespace moonphase::engine
