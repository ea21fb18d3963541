// gzip, gzip_static, sub_filter and charset of a location.
#include "bind/plan_parts.h"
#include "engine/modules/charset.h"
#include "engine/modules/sub.h"
#include "http/gzip.h"

namespace moonphase::bind {

using engine::CharsetConf;
using http::GzipConf;

namespace {

// Content types; "*" is any.
void read_types(const PlanValue& v, std::vector<std::string>& types, bool& any) {
  read(v, types);
  any = types.size() == 1 && types[0] == "*";
}

uint32_t proxied_bits(const PlanValue& words) {
  static constexpr std::pair<const char*, uint32_t> kWords[] = {
      {"off", http::kProxiedOff},          {"expired", http::kProxiedExpired},
      {"no-cache", http::kProxiedNoCache}, {"no-store", http::kProxiedNoStore},
      {"private", http::kProxiedPrivate},  {"no_last_modified", http::kProxiedNoLastModified},
      {"no_etag", http::kProxiedNoEtag},   {"auth", http::kProxiedAuth},
      {"any", http::kProxiedAny},
  };
  uint32_t bits = 0;
  words.each([&](const PlanValue& word) { bits |= word.word(kWords); });
  return bits;
}

void read_disabled(PlanParts& parts, const PlanValue& rules, GzipConf& conf) {
  auto expressions = std::make_shared<std::vector<engine::RegexPtr>>();
  rules.each([&](const PlanValue& one) {
    if (one.is_string())
      conf.disable_msie6 |= one.bytes() == "msie6";
    else
      expressions->push_back(parts.regex(one));
  });
  if (expressions->empty()) return;
  conf.disabled = [expressions](http::Request*, Str user_agent) {
    for (const engine::RegexPtr& regex : *expressions)
      if (regex->match(user_agent, nullptr, 0) != engine::Regex::kNoMatch) return true;
    return false;
  };
}

std::shared_ptr<const GzipConf> read_gzip(PlanParts& parts, const PlanValue& v) {
  static constexpr std::pair<const char*, GzipConf::Static> kStatic[] = {
      {"off", GzipConf::kStaticOff},
      {"on", GzipConf::kStaticOn},
      {"always", GzipConf::kStaticAlways},
  };
  auto conf = std::make_shared<GzipConf>();
  read(v.get("gzip_on"), conf->on);
  conf->of_files = v.get("gzip_static").word(kStatic);
  read_types(v.get("gzip_types"), conf->types, conf->any_type);
  read(v.get("gzip_comp_level"), conf->level);
  read(v.get("gzip_window"), conf->window_bits);
  read(v.get("gzip_hash"), conf->memory_level);
  read(v.get("gzip_min_length"), conf->min_length);
  read(v.get("gzip_buffers").get("number"), conf->buffers_number);
  read(v.get("gzip_buffers").get("size"), conf->buffers_size);
  read(v.get("gzip_no_buffer"), conf->no_buffer);
  read(v.get("gzip_vary"), conf->vary);
  PLAN_READ(*conf, v, gunzip);
  read(v.get("gunzip_buffers").get("number"), conf->gunzip_buffers_number);
  read(v.get("gunzip_buffers").get("size"), conf->gunzip_buffers_size);
  conf->http_version =
      v.get("gzip_http_version").bytes() == "1.0" ? http::kVersion10 : http::kVersion11;
  conf->proxied = proxied_bits(v.get("gzip_proxied"));
  read_disabled(parts, v.get("gzip_disable"), *conf);
  return conf;
}

void read_name(const PlanValue& owner, const char* field, CharsetConf::Name& name) {
  if (!owner.has(field)) return;
  PlanValue v = owner.get(field);
  if (v.is_string()) {
    name.text = v.bytes();
    if (!name.text.empty()) name.kind = CharsetConf::Name::kText;
  } else {
    name.kind = CharsetConf::Name::kVar;
    read(v.get("var"), name.var);
  }
}

std::shared_ptr<engine::SubConf> read_sub(const PlanValue& v) {
  auto conf = std::make_shared<engine::SubConf>();
  v.get("sub_filter").each([&](const PlanValue& one) {
    engine::SubConf::Pair& pair = conf->pairs.emplace_back();
    PLAN_READ(pair, one, match);
    read(one.get("replacement"), pair.value);
  });
  read_types(v.get("sub_filter_types"), conf->types, conf->any_type);
  read(v.get("sub_filter_once"), conf->once);
  read(v.get("sub_filter_last_modified"), conf->last_modified);
  return conf;
}

}  // namespace

void read_filters(PlanParts& parts, const PlanValue& v, engine::LocConf& conf) {
  if (v.has("gzip")) conf.gzip = read_gzip(parts, v.get("gzip"));
  auto charset = std::make_shared<CharsetConf>();
  read_name(v, "charset", charset->charset);
  read_name(v, "source_charset", charset->source);
  read(v.get("override_charset"), charset->override);
  read_types(v.get("charset_types"), charset->types, charset->any_type);
  if (v.has("sub_filter")) conf.module[engine::kModSub] = read_sub(v);
  conf.module[engine::kModCharset] = std::move(charset);
}

}  // namespace moonphase::bind
