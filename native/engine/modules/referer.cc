#include "engine/modules/referer.h"

#include <strings.h>

#include <algorithm>

#include "engine/runtime.h"
#include "engine/variables/variables.h"

namespace moonphase::engine {

namespace {

constexpr size_t kLongestHost = 256;

bool begins_with_scheme(Str s, Str scheme) {
  return s.size() >= scheme.size() && strncasecmp(s.data(), scheme.data(), scheme.size()) == 0;
}

const std::string* find_host(const RefererConf& conf, Str host) {
  if (auto it = conf.exact.find(host); it != conf.exact.end()) return &it->second;
  for (const auto& [mask, uri] : conf.masks) {
    Str m = mask;
    bool head = m.starts_with('*');
    if (head)
      m.remove_prefix(1);
    else
      m.remove_suffix(1);
    if (host.size() > m.size() && (head ? host.ends_with(m) : host.starts_with(m))) return &uri;
  }
  return nullptr;
}

// A host that is known has decided, whatever the expressions say.
bool is_valid(Request* r, const RefererConf& conf) {
  const http::Header* h = r->headers_in.referer;
  if (!h) return conf.none;
  Str rest = h->value;
  // Less than "http://i.ru" does not name a host.
  bool scheme = false;
  if (rest.size() >= 11) {
    for (Str one : {Str("http://"), Str("https://")}) {
      if (!begins_with_scheme(rest, one)) continue;
      rest.remove_prefix(one.size());
      scheme = true;
      break;
    }
  }
  if (!scheme) return conf.blocked;

  size_t length = std::min(rest.find_first_of("/:"), rest.size());
  if (length > kLongestHost) return false;
  char buf[kLongestHost];
  std::transform(rest.begin(), rest.begin() + static_cast<ptrdiff_t>(length), buf,
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  Str host(buf, length);
  if (const std::string* uri = find_host(conf, host)) {
    if (uri->empty()) return true;
    size_t slash = rest.find('/', length);
    return slash != Str::npos && rest.substr(slash).starts_with(*uri);
  }
  for (const RegexPtr& regex : conf.server_regex)
    if (regex->match(host, nullptr, 0) >= 0) return true;
  for (const RegexPtr& regex : conf.regex)
    if (regex->match(rest, nullptr, 0) >= 0) return true;
  return false;
}

int invalid_referer(Request* r, VarValue* v, Str, uintptr_t) {
  auto* conf = static_cast<const RefererConf*>(loc(r)->module[kModReferer].get());
  return found(v, !conf || is_valid(r, *conf) ? "" : "1");
}

constexpr VariableDef kVariables[] = {
    {"invalid_referer", invalid_referer, nullptr, 0, kVarChangeable},
    {nullptr, nullptr, nullptr, 0, 0},
};

}  // namespace

void RefererConf::add(std::string name, std::string uri) {
  if (name.find('*') != std::string::npos)
    masks.emplace_back(std::move(name), std::move(uri));
  else
    exact.emplace(std::move(name), std::move(uri));
}

void RefererConf::sort() {
  std::stable_sort(masks.begin(), masks.end(), [](const auto& a, const auto& b) {
    bool head_a = a.first.starts_with('*'), head_b = b.first.starts_with('*');
    return head_a != head_b ? head_a : a.first.size() > b.first.size();
  });
}

void register_referer() { add_variables(kVariables); }

}  // namespace moonphase::engine
