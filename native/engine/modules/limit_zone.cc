// What limit_req and limit_conn share.
#include "engine/lifecycle.h"
#include "engine/modules/limits.h"
#include "engine/runtime.h"

namespace moonphase::engine {

LimitZone::~LimitZone() {
  if (shared) shm::zone_registry_release(shared);
}

bool open_limit_zones(Generation* g, std::string* error) {
  for (const auto& zone : g->plan->limit_zones) {
    shm::ZoneSpec spec;
    spec.name = zone->name;
    spec.size = zone->size;
    spec.exact = true;
    const auto& inherited = g->runtime->options.zone_fds;
    if (auto it = inherited.find(zone->name); it != inherited.end()) spec.fd = it->second;
    zone->shared = shm::zone_registry_open(spec, error);
    if (!zone->shared) return false;
  }
  return true;
}

const LimitsConf* limits_of(const Request* r) {
  return static_cast<const LimitsConf*>(loc(r)->module[kModLimits].get());
}

bool limits_used(const Plan& plan, LimitRules LimitsConf::*which) {
  for (const auto& conf : plan.confs) {
    auto* limits = static_cast<const LimitsConf*>(conf->module[kModLimits].get());
    if (limits && !(limits->*which).rules.empty()) return true;
  }
  return false;
}

bool usable_key(Request* r, const LimitZone& zone, Str key, size_t longest) {
  if (key.empty()) return false;
  if (key.size() <= longest) return true;
  MOONPHASE_LOG(r, kLogErr, 0, "the value of the \"%s\" key is more than %zu bytes: \"%.*s\"",
                zone.key_text.c_str(), longest, STR(key));
  return false;
}

}  // namespace moonphase::engine
