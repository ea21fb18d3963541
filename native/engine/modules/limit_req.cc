// limit_req: a leaky bucket for each key. A request over `burst` is refused, one over `delay`
// waits.
#include <algorithm>

#include "engine/lifecycle.h"
#include "engine/modules/limits.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"

namespace moonphase::engine {

namespace {

constexpr size_t kLongestKey = 65535;
constexpr int64_t kForgetful = 60000;  // ms: what has been quiet for so long may be dropped

// Request::limit_req.
enum Status : uint8_t { kUnknown, kPassed, kDelayed, kRejected, kDelayedDry, kRejectedDry };

// The value of a key.
struct Bucket {
  int64_t last = 0;    // ms, of the system's clock
  int64_t excess = 0;  // thousandths of a request
};

shm::Value value_of_bucket(const Bucket& b) {
  return {shm::Type::kString, 0, {reinterpret_cast<const char*>(&b), sizeof b}};
}

bool read_bucket(const LimitRule& rule, Str key, int64_t now, Bucket* b) {
  shm::Sink sink{reinterpret_cast<char*>(b), sizeof *b, nullptr, nullptr};
  shm::GetResult got = rule.zone->shared->dict.get(key, now, sink);
  return got.rc == kOk && got.type == shm::Type::kString && got.size == sizeof *b;
}

int64_t excess_now(const Bucket& b, int64_t rate, int64_t now, int64_t* passed) {
  int64_t ms = now - b.last;
  ms = ms < -kForgetful ? 1 : std::max<int64_t>(ms, 0);
  *passed = ms;
  return std::max<int64_t>(b.excess - rate * ms / 1000 + 1000, 0);
}

// Adds this request to the bucket. kOk, kBusy when it would be over `most`, kError without memory.
int account(const LimitRule& rule, Str key, int64_t most, int64_t* excess) {
  shm::Dict& dict = rule.zone->shared->dict;
  int64_t now = shm::now_ms();
  for (;;) {
    Bucket old, fresh{now, 0};
    bool there = read_bucket(rule, key, now, &old);
    if (there) {
      int64_t passed;
      fresh.excess = excess_now(old, rule.zone->rate, now, &passed);
      fresh.last = passed ? now : old.last;
    }
    *excess = fresh.excess;
    if (fresh.excess > most) return kBusy;
    // An empty bucket says no more than none.
    int64_t ttl = fresh.excess * 1000 / rule.zone->rate + kForgetful;
    shm::StoreResult stored = dict.cas(key, there ? value_of_bucket(old) : shm::Value{},
                                       value_of_bucket(fresh), ttl, 0, now);
    if (stored.rc == kOk) return kOk;
    if (stored.rc != kDeclined) return kError;  // not: another process was faster
  }
}

// What account() would find.
int64_t peek(const LimitRule& rule, Str key) {
  int64_t now = shm::now_ms(), passed;
  Bucket b;
  return read_bucket(rule, key, now, &b) ? excess_now(b, rule.zone->rate, now, &passed) : 0;
}

void delayed_write(Request* r) { MOONPHASE_LOG(r, kLogDebug, 0, "limit_req delay"); }

// A request that waits; in its arena.
struct Waiting {
  Request* r = nullptr;
  net::Timer timer{};
};

void delay_over(void* p) {
  Request* r = static_cast<Waiting*>(p)->r;
  http::Connection* c = r->conn;
  MOONPHASE_LOG(r, kLogDebug, 0, "limit_req delay");
  r->read_event_handler = http::block_reading;
  r->write_event_handler = run_phases;
  run_phases(r);
  run_posted(c);
}

int wait(Request* r, int64_t ms) {
  r->read_event_handler = http::test_reading;
  r->write_event_handler = delayed_write;
  r->conn->want_read(true);
  auto* waiting = r->pool->make<Waiting>();
  waiting->r = r;
  waiting->timer.fn = delay_over;
  waiting->timer.data = waiting;
  on_request_end(
      r, [](void* p) { net::current_loop()->clear_timer(&static_cast<Waiting*>(p)->timer); },
      waiting);
  net::current_loop()->set_timer(&waiting->timer, static_cast<uint64_t>(ms));
  return kAgain;
}

int refuse(Request* r, const LimitRules& limits) {
  r->main->limit_req = limits.dry_run ? kRejectedDry : kRejected;
  return limits.dry_run ? int{kDeclined} : limits.status;
}

int limit_req_handler(Request* r) {
  const LimitsConf* conf = limits_of(r);
  if (!conf || conf->requests.rules.empty() || r->main->limit_req) return kDeclined;
  const LimitRules& limits = conf->requests;
  const char* dry = limits.dry_run ? ", dry run" : "";

  // All rules are asked before the first bucket is filled.
  std::vector<std::pair<const LimitRule*, Str>> asked;
  for (const LimitRule& rule : limits.rules) {
    Str key = eval(r, rule.zone->key);
    if (usable_key(r, *rule.zone, key, kLongestKey)) asked.emplace_back(&rule, key);
  }
  if (asked.empty()) return kDeclined;
  const auto& last = asked.back();
  const LimitRule* full = nullptr;
  int64_t excess = 0;
  for (const auto& one : asked) {
    if (&one == &last) break;
    excess = peek(*one.first, one.second);
    if (excess > one.first->burst) {
      full = one.first;
      break;
    }
  }
  if (!full) {
    int rc = account(*last.first, last.second, last.first->burst, &excess);
    if (rc == kError) {
      MOONPHASE_LOG(r, kLogAlert, 0, "could not allocate node in limit_req zone \"%s\"",
                    last.first->zone->name.c_str());
      return refuse(r, limits);
    }
    if (rc == kBusy) full = last.first;
  }
  if (full) {
    MOONPHASE_LOG(r, limits.log_level, 0, "limiting requests%s, excess: %lld.%03lld by zone \"%s\"",
                  dry, static_cast<long long>(excess / 1000), static_cast<long long>(excess % 1000),
                  full->zone->name.c_str());
    return refuse(r, limits);
  }

  const LimitRule* longest = last.first;
  auto delay_of = [](const LimitRule& rule, int64_t e) {
    return e <= rule.delay ? 0 : (e - rule.delay) * 1000 / rule.zone->rate;
  };
  int64_t delay = delay_of(*longest, excess);
  for (const auto& [rule, key] : asked) {
    if (rule == last.first) break;
    int64_t e = 0;
    account(*rule, key, INT64_MAX, &e);
    if (delay_of(*rule, e) <= delay) continue;
    delay = delay_of(*rule, e);
    excess = e;
    longest = rule;
  }
  if (!delay) {
    r->main->limit_req = kPassed;
    return kDeclined;
  }
  int level = limits.log_level == kLogInfo ? kLogInfo : limits.log_level + 1;
  MOONPHASE_LOG(r, level, 0, "delaying request%s, excess: %lld.%03lld, by zone \"%s\"", dry,
                static_cast<long long>(excess / 1000), static_cast<long long>(excess % 1000),
                longest->zone->name.c_str());
  r->main->limit_req = limits.dry_run ? kDelayedDry : kDelayed;
  return limits.dry_run ? int{kDeclined} : wait(r, delay);
}

int limit_req_status(Request* r, VarValue* v, Str, uintptr_t) {
  static constexpr Str kNames[] = {"",         "PASSED",          "DELAYED",
                                   "REJECTED", "DELAYED_DRY_RUN", "REJECTED_DRY_RUN"};
  uint8_t status = r->main->limit_req;
  return status ? found(v, kNames[status]) : not_found(v);
}

constexpr VariableDef kVariables[] = {
    {"limit_req_status", limit_req_status, nullptr, 0, kVarNoCacheable},
    {nullptr, nullptr, nullptr, 0, 0},
};

}  // namespace

void register_limit_req() {
  add_step({Phase::kPreaccess, limit_req_handler,
            [](const Plan& plan) { return limits_used(plan, &LimitsConf::requests); }});
  add_variables(kVariables);
}

}  // namespace moonphase::engine
