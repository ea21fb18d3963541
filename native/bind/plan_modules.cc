// The parts of a location that belong to modules (lib/conf/plan_modules.ts).
#include "bind/plan_parts.h"
#include "engine/content/dav.h"
#include "engine/modules/echo.h"
#include "engine/modules/headers_more.h"
#include "engine/modules/limits.h"
#include "engine/modules/mirror.h"
#include "engine/modules/real_ip.h"
#include "engine/modules/referer.h"

namespace moonphase::bind {

using engine::LocConf;

namespace {

void read_commands(const PlanValue& v, const char* field, engine::EchoProgram& program) {
  if (!v.has(field)) return;
  v.get(field).each([&](const PlanValue& one) {
    std::vector<http::Complex> args;
    read(one.get("args"), args);
    if (!engine::add_echo_command(&program, one.get("op").bytes(), std::move(args)))
      one.get("op").fail("a directive of echo");
  });
}

void read_echo(const PlanValue& v, LocConf& conf) {
  if (!v.has("echo_cmds") && !v.has("echo_before_body") && !v.has("echo_after_body")) return;
  auto echo = std::make_shared<engine::EchoConf>();
  read_commands(v, "echo_cmds", echo->commands);
  read_commands(v, "echo_before_body", echo->before_body);
  read_commands(v, "echo_after_body", echo->after_body);
  read(v.get("echo_status"), echo->status);
  conf.module[engine::kModEcho] = std::move(echo);
}

void read_more_headers(const PlanValue& v, LocConf& conf) {
  if (!v.has("more_headers")) return;
  auto more = std::make_shared<engine::HeadersMoreConf>();
  v.get("more_headers").each([&](const PlanValue& one) {
    bool in = one.get("target").bytes() == "in";
    engine::MoreHeaders& rule = (in ? more->in : more->out).emplace_back();
    one.get("headers").each([&](const PlanValue& from) {
      engine::MoreHeaders::Header& header = rule.headers.emplace_back();
      PLAN_READ(header, from, name);
      PLAN_READ(header, from, wildcard);
      PLAN_READ(header, from, value);
      if (header.wildcard) header.name.pop_back();
      header.lower = header.name;
      for (char& c : header.lower)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    });
    PLAN_READ(rule, one, statuses);
    PLAN_READ(rule, one, types);
    PLAN_READ(rule, one, append);
    PLAN_READ(rule, one, replace);
  });
  conf.module[engine::kModHeadersMore] = std::move(more);
}

void read_referers(PlanParts& parts, const PlanValue& plan, LocConf& conf) {
  if (!plan.has("valid_referers")) return;
  PlanValue v = plan.get("valid_referers");
  auto referers = std::make_shared<engine::RefererConf>();
  PLAN_READ(*referers, v, none);
  PLAN_READ(*referers, v, blocked);
  v.get("names").each([&](const PlanValue& one) {
    referers->add(one.get("name").bytes(), one.get("uri").bytes());
  });
  referers->sort();
  v.get("regex").each([&](const PlanValue& one) { referers->regex.push_back(parts.regex(one)); });
  if (v.has("server_regex")) {
    v.get("server_regex").each([&](const PlanValue& one) {
      referers->server_regex.push_back(parts.regex(one));
    });
  }
  conf.module[engine::kModReferer] = std::move(referers);
}

void read_dav(const PlanValue& plan, LocConf& conf) {
  if (!plan.has("dav")) return;
  static constexpr std::pair<const char*, uint32_t> kMethods[] = {
      {"PUT", http::kPut},   {"DELETE", http::kDelete}, {"MKCOL", http::kMkcol},
      {"COPY", http::kCopy}, {"MOVE", http::kMove},
  };
  PlanValue v = plan.get("dav");
  auto dav = std::make_shared<engine::DavConf>();
  v.get("dav_methods").each([&](const PlanValue& one) { dav->methods |= one.word(kMethods); });
  PLAN_READ(*dav, v, create_full_put_path);
  PLAN_READ(*dav, v, min_delete_depth);
  read(v.get("dav_access"), dav->access);
  conf.module[engine::kModDav] = std::move(dav);
}

void read_real_ip(const PlanValue& plan, LocConf& conf) {
  if (!plan.has("real_ip")) return;
  PlanValue v = plan.get("real_ip");
  auto real_ip = std::make_shared<engine::RealIpConf>();
  v.get("set_real_ip_from").each([&](const PlanValue& one) {
    if (!engine::make_rule(true, one.bytes(), &real_ip->from.emplace_back())) one.fail("a network");
  });
  read(v.get("real_ip_header"), real_ip->header);
  real_ip->proxy_protocol = real_ip->header == "proxy_protocol";
  read(v.get("real_ip_recursive"), real_ip->recursive);
  conf.module[engine::kModRealIp] = std::move(real_ip);
}

void read_limits(PlanParts& parts, const PlanValue& plan, const std::string& name,
                 engine::LimitRules& limits) {
  static constexpr std::pair<const char*, int> kLevels[] = {
      {"info", kLogInfo}, {"notice", kLogNotice}, {"warn", kLogWarn}, {"error", kLogErr}};
  if (!plan.has(name.c_str())) return;
  PlanValue v = plan.get(name.c_str());
  auto field = [&](const char* rest) { return name + rest; };
  std::string rules = field("_rules"), level = field("_log_level"), status = field("_status"),
              dry_run = field("_dry_run");
  v.get(rules.c_str()).each([&](const PlanValue& one) {
    engine::LimitRule& rule = limits.rules.emplace_back();
    auto at = static_cast<size_t>(one.get("zone").integer());
    if (at >= parts.plan.limit_zones.size()) one.get("zone").fail("a zone's place");
    rule.zone = parts.plan.limit_zones[at].get();
    PLAN_READ(rule, one, burst);
    PLAN_READ(rule, one, delay);
    PLAN_READ(rule, one, connections);
  });
  limits.log_level = v.get(level.c_str()).word(kLevels);
  read(v.get(status.c_str()), limits.status);
  read(v.get(dry_run.c_str()), limits.dry_run);
}

void read_all_limits(PlanParts& parts, const PlanValue& plan, LocConf& conf) {
  if (!plan.has("limit_req") && !plan.has("limit_conn")) return;
  auto limits = std::make_shared<engine::LimitsConf>();
  read_limits(parts, plan, "limit_req", limits->requests);
  read_limits(parts, plan, "limit_conn", limits->connections);
  conf.module[engine::kModLimits] = std::move(limits);
}

void read_mirror(const PlanValue& plan, LocConf& conf) {
  if (!plan.has("mirror")) return;
  PlanValue v = plan.get("mirror");
  auto mirror = std::make_shared<engine::MirrorConf>();
  read(v.get("mirror_uris"), mirror->uris);
  read(v.get("mirror_request_body"), mirror->request_body);
  conf.module[engine::kModMirror] = std::move(mirror);
}

}  // namespace

void read_limit_zones(PlanParts& parts, const PlanValue& from) {
  from.each([&](const PlanValue& v) {
    auto zone = std::make_unique<engine::LimitZone>();
    PLAN_READ(*zone, v, name);
    PLAN_READ(*zone, v, size);
    PLAN_READ(*zone, v, key);
    PLAN_READ(*zone, v, key_text);
    PLAN_READ(*zone, v, rate);
    parts.plan.limit_zones.push_back(std::move(zone));
  });
}

void read_modules(PlanParts& parts, const PlanValue& v, LocConf& conf) {
  read_echo(v, conf);
  read_more_headers(v, conf);
  read_referers(parts, v, conf);
  read_dav(v, conf);
  read_real_ip(v, conf);
  read_all_limits(parts, v, conf);
  read_mirror(v, conf);
}

}  // namespace moonphase::bind
