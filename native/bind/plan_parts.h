// Parts that occur all over a Plan: handlers, regular expressions, logs, rewrite programs,
// references by index.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "bind/plan_value.h"
#include "engine/modules/pass.h"
#include "engine/plan.h"
#include "engine/upstream/cache_zone.h"
#include "engine/upstream/upstream.h"

namespace moonphase::bind {

class PlanParts {
 public:
  explicit PlanParts(engine::Plan& p) : plan(p) {}
  engine::Plan& plan;
  // proxy_cache_path, which the locations share.
  std::shared_ptr<std::vector<std::shared_ptr<engine::CacheZone>>> caches =
      std::make_shared<std::vector<std::shared_ptr<engine::CacheZone>>>();
  // What plan_tls.cc has read, by its values.
  std::unordered_map<std::string, std::shared_ptr<const engine::LuaTlsConf>> client_tls;

  // The optional field `name`. Levels that inherit a handler share one object.
  engine::HandlerPtr handler(const PlanValue& owner, const char* name);
  engine::HandlerPtr handler(const PlanValue& v);
  // Throws a PlanError with PCRE2's message and the place of the directive.
  engine::RegexPtr regex(const PlanValue& v);
  Syslog* syslog(const PlanValue& index);
  Log log(const PlanValue& error_logs);
  engine::RewriteProgram rewrite(const PlanValue& ops);
  engine::LocConf* conf(const PlanValue& index);
  engine::ServerConf* server(const PlanValue& index);
  const engine::LogFormat* format(const PlanValue& index);

 private:
  engine::RewriteOp rewrite_op(const PlanValue& v);
  engine::Condition condition(const PlanValue& v);
  std::unordered_map<std::string, engine::HandlerPtr> handlers_;
  std::unordered_map<std::string, Log> logs_;
};

// The fields of a group whose names begin alike: `proxy_`, `grpc_`.
class PassValues {
 public:
  PassValues(const PlanValue& v, const char* kind) : v_(v), kind_(kind) {}
  PlanValue get(const char* name) const { return v_.get(full(name)); }
  bool has(const char* name) const { return v_.has(full(name)); }

 private:
  // Names must outlive the value.
  const char* full(const char* name) const;
  const PlanValue& v_;
  const char* kind_;
};

void read(const PlanValue& from, engine::Where& to);
// plan_tls.cc
void read_client_tls(PlanParts& parts, const PlanValue& v, engine::LocConf& conf);
std::shared_ptr<engine::UpstreamTls> read_upstream_tls(const PassValues& v);
void read_server_tls(PlanParts& parts, const PlanValue& v, engine::ServerConf& server);
// plan_location.cc
std::unique_ptr<engine::ResolverPlan> read_resolver(const PlanValue& from);
void read_location(PlanParts& parts, const PlanValue& v, engine::LocConf& conf);
// plan_pass.cc
uint32_t next_upstream_bit(const std::string& word);
void read_pass(const PassValues& v, engine::PassConf& conf);
void read_grpc(const PlanValue& v, engine::LocConf& conf);
// plan_proxy.cc
void read_caches(PlanParts& parts, const PlanValue& from);
void read_proxy(PlanParts& parts, const PlanValue& v, engine::LocConf& conf);
// plan_filters.cc
void read_filters(PlanParts& parts, const PlanValue& v, engine::LocConf& conf);
// plan_memc.cc
void read_memc(const PlanValue& v, engine::LocConf& conf);
// plan_modules.cc
void read_limit_zones(PlanParts& parts, const PlanValue& from);
void read_modules(PlanParts& parts, const PlanValue& v, engine::LocConf& conf);

}  // namespace moonphase::bind
