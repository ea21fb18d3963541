// proxy_*, auth_request of a location.
#include "bind/plan_parts.h"
#include "engine/modules/proxy.h"
#include "engine/upstream/cache_zone.h"

namespace moonphase::bind {

using engine::LocConf;
using engine::ProxyConf;

namespace {

void read_buffering(const PlanValue& v, engine::UpstreamConf& conf) {
  PlanValue buffers = v.get("proxy_buffers");
  read(buffers.get("number"), conf.buffers_number);
  read(buffers.get("size"), conf.buffers_size);
  read(v.get("proxy_buffering"), conf.buffering);
  read(v.get("proxy_request_buffering"), conf.request_buffering);
  read(v.get("proxy_ignore_client_abort"), conf.ignore_client_abort);
  read(v.get("proxy_force_ranges"), conf.force_ranges);
  read(v.get("proxy_pass_trailers"), conf.pass_trailers);
  read(v.get("proxy_limit_rate"), conf.limit_rate);
}

uint32_t stale_bit(const std::string& word) {
  return word == "updating" ? uint32_t{engine::kFailUpdating} : next_upstream_bit(word);
}

void read_cache(PlanParts& parts, const PlanValue& v, engine::UpstreamConf& conf) {
  if (!v.has("proxy_cache")) return;
  auto cache = std::make_shared<engine::CacheConf>();
  PlanValue zone = v.get("proxy_cache");
  if (zone.is_string() && zone.bytes().empty()) return;  // off
  read(zone, cache->zone);
  cache->all = parts.caches;
  for (const auto& one : *parts.caches)
    if (cache->zone.literal() && one->name == cache->zone.text) cache->fixed = one;
  cache->has_key = v.has("proxy_cache_key");
  if (cache->has_key) read(v.get("proxy_cache_key"), cache->key);
  v.get("proxy_cache_bypass").each([&](const PlanValue& one) {
    read(one, cache->bypass.emplace_back());
  });
  v.get("proxy_no_cache").each([&](const PlanValue& one) {
    read(one, cache->no_cache.emplace_back());
  });
  v.get("proxy_cache_valid").each([&](const PlanValue& one) {
    auto& [status, time] = cache->valid.emplace_back();
    read(one.get("status"), status);
    read(one.get("time"), time);
  });
  read(v.get("proxy_cache_min_uses"), cache->min_uses);
  if (v.has("proxy_cache_max_range_offset"))
    read(v.get("proxy_cache_max_range_offset"), cache->max_range_offset);
  bool off = false;
  v.get("proxy_cache_use_stale").each([&](const PlanValue& word) {
    off |= word.bytes() == "off";
    cache->use_stale |= stale_bit(word.bytes());
  });
  if (off) cache->use_stale = 0;
  if (cache->use_stale & engine::kFailError) cache->use_stale |= engine::kFailNobody;
  cache->methods = http::kGet | http::kHead;
  v.get("proxy_cache_methods").each([&](const PlanValue& word) {
    if (word.bytes() == "POST") cache->methods |= http::kPost;
  });
  read(v.get("proxy_cache_lock"), cache->lock);
  read(v.get("proxy_cache_lock_timeout"), cache->lock_timeout);
  read(v.get("proxy_cache_lock_age"), cache->lock_age);
  read(v.get("proxy_cache_revalidate"), cache->revalidate);
  read(v.get("proxy_cache_convert_head"), cache->convert_head);
  read(v.get("proxy_cache_background_update"), cache->background_update);
  read(v.get("proxy_temp_path"), cache->temp_path);
  conf.cache = std::move(cache);
}

void read_rules(PlanParts& parts, const PlanValue& v, const char* name,
                std::vector<engine::ProxyRedirect>& to) {
  if (!v.has(name)) return;
  PlanValue rules = v.get(name);
  if (rules.is_string()) return;  // off
  rules.each([&](const PlanValue& one) {
    engine::ProxyRedirect& rule = to.emplace_back();
    if (one.has("regex"))
      rule.regex = parts.regex(one.get("regex"));
    else
      PLAN_READ(rule, one, pattern);
    PLAN_READ(rule, one, replacement);
  });
}

void read_cookie_flags(PlanParts& parts, const PlanValue& v, ProxyConf& conf) {
  if (!v.has("proxy_cookie_flags")) return;
  PlanValue rules = v.get("proxy_cookie_flags");
  if (rules.is_string()) return;  // off
  rules.each([&](const PlanValue& one) {
    engine::ProxyCookieFlags& rule = conf.cookie_flags.emplace_back();
    if (one.has("regex"))
      rule.regex = parts.regex(one.get("regex"));
    else
      PLAN_READ(rule, one, name);
    one.get("flags").each([&](const PlanValue& flag) { read(flag, rule.flags.emplace_back()); });
  });
}

std::shared_ptr<ProxyConf> read_proxy(PlanParts& parts, const PlanValue& v) {
  auto conf = std::make_shared<ProxyConf>();
  PlanValue target = v.get("proxy_pass");
  read_pass(PassValues(v, "proxy"), *conf);
  if (conf->ssl)
    conf->schema = "https://";
  else
    conf->schema = "http://";
  if (!conf->dynamic) {
    PLAN_READ(*conf, target, uri);
    PLAN_READ_OPTIONAL(*conf, target, location);
    if (conf->no_port && !conf->unix_socket) conf->port_text = std::to_string(conf->port);
  }
  read_buffering(v, conf->upstream);
  read_cache(parts, v, conf->upstream);
  read_rules(parts, v, "proxy_redirect", conf->redirects);
  read_rules(parts, v, "proxy_cookie_domain", conf->cookie_domains);
  read_rules(parts, v, "proxy_cookie_path", conf->cookie_paths);
  read_cookie_flags(parts, v, *conf);
  read(v.get("proxy_pass_request_headers"), conf->pass_headers_in);
  read(v.get("proxy_pass_request_body"), conf->pass_body);
  conf->http11 = v.get("proxy_http_version").bytes() != "1.0";
  conf->has_body = v.has("proxy_set_body");
  if (conf->has_body) read(v.get("proxy_set_body"), conf->body);
  conf->has_method = v.has("proxy_method");
  if (conf->has_method) read(v.get("proxy_method"), conf->method);
  return conf;
}

}  // namespace

void read_caches(PlanParts& parts, const PlanValue& from) {
  from.each([&](const PlanValue& v) {
    auto zone = std::make_shared<engine::CacheZone>();
    PLAN_READ(*zone, v, name);
    PLAN_READ(*zone, v, size);
    PLAN_READ(*zone, v, path);
    v.get("levels").each([&](const PlanValue& n) { read(n, zone->levels.emplace_back()); });
    PLAN_READ(*zone, v, use_temp_path);
    PLAN_READ(*zone, v, inactive);
    PLAN_READ(*zone, v, max_size);
    PLAN_READ(*zone, v, min_free);
    PLAN_READ(*zone, v, loader_files);
    PLAN_READ(*zone, v, loader_sleep);
    PLAN_READ(*zone, v, loader_threshold);
    PLAN_READ(*zone, v, manager_files);
    PLAN_READ(*zone, v, manager_sleep);
    PLAN_READ(*zone, v, manager_threshold);
    PLAN_READ(*zone, v, where);
    parts.caches->push_back(std::move(zone));
  });
}

void read_proxy(PlanParts& parts, const PlanValue& v, LocConf& conf) {
  if (v.has("proxy")) conf.module[engine::kModProxy] = read_proxy(parts, v.get("proxy"));
  if (!v.has("auth_request")) return;
  auto auth = std::make_shared<engine::AuthRequestConf>();
  read(v.get("auth_request"), auth->uri);
  v.get("auth_request_set").each([&](const PlanValue& one) {
    auto& [variable, value] = auth->set.emplace_back();
    read(one.get("var"), variable);
    read(one.get("value"), value);
  });
  conf.module[engine::kModAuthRequest] = auth;
}

}  // namespace moonphase::bind
