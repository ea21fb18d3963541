#include "engine/variables/names.h"

#include <atomic>
#include <cstring>

#include "engine/variables/variables.h"

namespace moonphase::engine {

namespace {

// One place per name, whoever comes last has it.
struct Entry {
  const Plan* plan = nullptr;
  uint64_t epoch = 0;
  KnownName known;
  uint32_t size = 0;
  char name[44];
};
constexpr size_t kEntries = 128;
thread_local Entry t_names[kEntries];

std::atomic<uint64_t> g_epoch{0};

size_t place_of(Str s) {
  uint64_t head = 0, tail = 0;
  const size_t n = s.size() < 8 ? s.size() : 8;
  std::memcpy(&head, s.data(), n);
  std::memcpy(&tail, s.data() + s.size() - n, n);
  return ((head ^ (tail * 0x9e3779b97f4a7c15u) ^ s.size()) * 0x9e3779b97f4a7c15u) >> 57;
}
static_assert(kEntries == 128);

KnownName look_up(const Plan& p, Str name) {
  KnownName known;
  known.index = p.variable(name);
  if (known.index < 0) known.def = find_variable(name);
  return known;
}

}  // namespace

KnownName known_name(const Plan& p, Str name) {
  if (name.size() > sizeof(Entry::name)) return look_up(p, name);
  Entry& e = t_names[place_of(name)];
  const uint64_t epoch = g_epoch.load(std::memory_order_relaxed);
  if (e.plan == &p && e.epoch == epoch && e.size == name.size() &&
      std::memcmp(e.name, name.data(), name.size()) == 0)
    return e.known;
  e.plan = &p;
  e.epoch = epoch;
  e.known = look_up(p, name);
  e.size = static_cast<uint32_t>(name.size());
  std::memcpy(e.name, name.data(), name.size());
  return e.known;
}

void forget_names() { g_epoch.fetch_add(1, std::memory_order_relaxed); }

}  // namespace moonphase::engine
