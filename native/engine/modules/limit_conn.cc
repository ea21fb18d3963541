// limit_conn: how many requests with the same key are under way.
#include "engine/lifecycle.h"
#include "engine/modules/limits.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"

namespace moonphase::engine {

namespace {

constexpr size_t kLongestKey = 255;

// Request::limit_conn.
enum Status : uint8_t { kUnknown, kPassed, kRejected, kRejectedDry };

// One request that counts; in its arena.
struct Counted {
  shm::Zone* zone = nullptr;
  Str key;
};

void leave(void* p) {
  auto* counted = static_cast<Counted*>(p);
  if (!counted->zone) return;
  shm::Dict& dict = counted->zone->dict;
  int64_t now = shm::now_ms();
  shm::IncrResult left = dict.incr(counted->key, -1, false, 0, 0, now);
  // Unless somebody has come meanwhile.
  if (left.rc == kOk && left.number <= 0)
    dict.cas(counted->key, {shm::Type::kNumber, left.number, {}}, {}, 0, 0, now);
  shm::zone_registry_release(counted->zone);
  counted->zone = nullptr;
}

// kOk; kBusy: there are as many as may be; kError: no memory.
int enter(const LimitRule& rule, Str key) {
  shm::Dict& dict = rule.zone->shared->dict;
  int64_t now = shm::now_ms();
  for (;;) {
    shm::GetResult got = dict.get(key, now, {});
    bool there = got.rc == kOk && got.type == shm::Type::kNumber;
    if (there && got.number >= static_cast<double>(rule.connections)) return kBusy;
    if (there) {
      shm::StoreResult stored = dict.cas(key, {shm::Type::kNumber, got.number, {}},
                                         {shm::Type::kNumber, got.number + 1, {}}, 0, 0, now);
      if (stored.rc == kOk) return kOk;
      if (stored.rc != kDeclined) return kError;
      continue;
    }
    // No entry makes room for another: it would be a request that is forgotten.
    shm::StoreResult stored =
        dict.store(shm::kAdd | shm::kSafe, key, {shm::Type::kNumber, 1, {}}, 0, 0, now);
    if (stored.rc == kOk) return kOk;
    if (stored.rc != kDeclined) return kError;
  }
}

int limit_conn_handler(Request* r) {
  const LimitsConf* conf = limits_of(r);
  if (!conf || r->main->limit_conn) return kDeclined;
  const LimitRules& limits = conf->connections;
  std::vector<Counted*> entered;
  for (const LimitRule& rule : limits.rules) {
    Str key = eval(r, rule.zone->key);
    if (!usable_key(r, *rule.zone, key, kLongestKey)) continue;
    r->main->limit_conn = kPassed;
    int rc = enter(rule, key);
    if (rc == kOk) {
      auto* counted = r->pool->make<Counted>();
      counted->zone = rule.zone->shared;
      shm::zone_registry_retain(counted->zone);
      counted->key = r->pool->copy(key);
      r->pool->on_destroy(leave, counted);
      entered.push_back(counted);
      continue;
    }
    if (rc == kBusy)
      MOONPHASE_LOG(r, limits.log_level, 0, "limiting connections%s by zone \"%s\"",
                    limits.dry_run ? ", dry run," : "", rule.zone->name.c_str());
    for (Counted* counted : entered) leave(counted);
    r->main->limit_conn = limits.dry_run ? kRejectedDry : kRejected;
    return limits.dry_run ? int{kDeclined} : limits.status;
  }
  return kDeclined;
}

int limit_conn_status(Request* r, VarValue* v, Str, uintptr_t) {
  static constexpr Str kNames[] = {"", "PASSED", "REJECTED", "REJECTED_DRY_RUN"};
  uint8_t status = r->main->limit_conn;
  return status ? found(v, kNames[status]) : not_found(v);
}

constexpr VariableDef kVariables[] = {
    {"limit_conn_status", limit_conn_status, nullptr, 0, kVarNoCacheable},
    {nullptr, nullptr, nullptr, 0, 0},
};

}  // namespace

void register_limit_conn() {
  add_step({Phase::kPreaccess, limit_conn_handler,
            [](const Plan& plan) { return limits_used(plan, &LimitsConf::connections); }});
  add_variables(kVariables);
}

}  // namespace moonphase::engine
