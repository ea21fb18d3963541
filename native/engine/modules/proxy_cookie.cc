// proxy_cookie_domain, proxy_cookie_path, proxy_cookie_flags: Set-Cookie as the client is to see
// it.
#include <strings.h>

#include <string>
#include <vector>

#include "engine/lifecycle.h"
#include "engine/modules/proxy.h"
#include "engine/variables/variables.h"

namespace moonphase::engine::proxy {

namespace {

bool same_text(Str a, Str b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

Str trimmed(Str s) {
  while (s.starts_with(' ')) s.remove_prefix(1);
  while (s.ends_with(' ')) s.remove_suffix(1);
  return s;
}

struct Attribute {
  Str key, value;
  bool has_value = false, removed = false;
};

std::vector<Attribute> parse(Str text) {
  std::vector<Attribute> all;
  for (;;) {
    const size_t end = text.find(';');
    const Str one = text.substr(0, end);
    const size_t equals = one.find('=');
    Attribute& a = all.emplace_back();
    a.key = trimmed(one.substr(0, equals));
    a.has_value = equals != Str::npos;
    if (a.has_value) a.value = trimmed(one.substr(equals + 1));
    if (end == Str::npos) return all;
    text.remove_prefix(end + 1);
  }
}

// All of the domain, with or without a dot before it.
bool rewrite_domain(Request* r, const ProxyRedirect& rule, Str* value) {
  if (rule.regex) return rewrite_by_prefix(r, rule, *value, value);
  const size_t dot = value->starts_with('.') ? 1 : 0;
  if (!same_text(value->substr(dot), eval(r, rule.pattern))) return false;
  *value = r->pool->join({value->substr(0, dot), eval(r, rule.replacement)});
  return true;
}

enum Flag : unsigned {
  kSecure = 1,
  kNoSecure = 2,
  kHttpOnly = 4,
  kNoHttpOnly = 8,
  kStrict = 16,
  kLax = 32,
  kNone = 64,
  kNoSameSite = 128,
};

unsigned flag_of(Request* r, Str word) {
  static constexpr std::pair<Str, unsigned> kWords[] = {
      {"secure", kSecure},         {"nosecure", kNoSecure},      {"httponly", kHttpOnly},
      {"nohttponly", kNoHttpOnly}, {"samesite=strict", kStrict}, {"samesite=lax", kLax},
      {"samesite=none", kNone},    {"nosamesite", kNoSameSite}};
  if (word.empty()) return 0;
  for (const auto& [name, flag] : kWords)
    if (same_text(name, word)) return flag;
  MOONPHASE_LOG(r, kLogDebug, 0, "invalid proxy_cookie_flags flag \"%.*s\"", STR(word));
  return 0;
}

Str same_site(unsigned flags) {
  return flags & kStrict ? "Strict" : flags & kLax ? "Lax" : flags & kNone ? "None" : "";
}

bool set_flags(std::vector<Attribute>& all, unsigned flags) {
  if (!flags) return false;
  auto single = [&](Attribute& a, unsigned on, unsigned off) {
    if (flags & on)
      flags &= ~on;
    else if (flags & off)
      a.removed = true;
  };
  for (size_t i = 1; i < all.size(); ++i) {
    Attribute& a = all[i];
    if (same_text(a.key, "secure")) {
      single(a, kSecure, kNoSecure);
    } else if (same_text(a.key, "httponly")) {
      single(a, kHttpOnly, kNoHttpOnly);
    } else if (same_text(a.key, "samesite")) {
      const Str wanted = same_site(flags);
      if (wanted.empty()) {
        a.removed = flags & kNoSameSite;
        continue;
      }
      if (!same_text(a.value, wanted)) a = {"SameSite", wanted, true, false};
      flags &= ~(flags & kStrict ? kStrict : flags & kLax ? kLax : kNone);
    }
  }
  if (flags & kSecure) all.push_back({"Secure", {}, false, false});
  if (flags & kHttpOnly) all.push_back({"HttpOnly", {}, false, false});
  if (const Str wanted = same_site(flags); !wanted.empty())
    all.push_back({"SameSite", wanted, true, false});
  return true;
}

bool rewrite_flags(Request* r, const ProxyConf& conf, std::vector<Attribute>& all) {
  for (const ProxyCookieFlags& rule : conf.cookie_flags) {
    const bool ours = rule.regex ? match_regex(r, *rule.regex, all[0].key) == kOk
                                 : same_text(all[0].key, eval(r, rule.name));
    if (!ours) continue;
    unsigned flags = 0;
    for (const Complex& flag : rule.flags) flags |= flag_of(r, eval(r, flag));
    return set_flags(all, flags);
  }
  return false;
}

}  // namespace

void rewrite_cookie(Upstream& u, Header* h) {
  Request* r = u.r;
  const ProxyConf& conf = *static_cast<Ctx*>(u.data)->conf;
  std::vector<Attribute> all = parse(h->value);
  if (!all[0].has_value) return;
  bool changed = false;
  for (size_t i = 1; i < all.size(); ++i) {
    Attribute& a = all[i];
    if (!a.has_value) continue;
    if (same_text(a.key, "domain")) {
      for (const ProxyRedirect& rule : conf.cookie_domains)
        if (rewrite_domain(r, rule, &a.value)) {
          changed = true;
          break;
        }
    } else if (same_text(a.key, "path")) {
      for (const ProxyRedirect& rule : conf.cookie_paths)
        if (rewrite_by_prefix(r, rule, a.value, &a.value)) {
          changed = true;
          break;
        }
    }
  }
  changed |= rewrite_flags(r, conf, all);
  if (!changed) return;
  std::string text;
  for (const Attribute& a : all) {
    if (a.removed) continue;
    if (!text.empty()) text += "; ";
    text.append(a.key);
    if (a.has_value) text.append("=").append(a.value);
  }
  h->value = Str(r->pool->c_str(text), text.size());
}

}  // namespace moonphase::engine::proxy
