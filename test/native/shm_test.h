// What the shared memory tests need: cases that register themselves, checks, a fresh zone.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "shm/zone.h"

namespace shm_test {

using namespace moonphase;
using namespace moonphase::shm;

struct Case {
  const char* name;
  void (*run)();
};
inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
struct Register {
  Register(const char* name, void (*run)()) { cases().push_back({name, run}); }
};

#define SHM_TEST(id)                                         \
  static void id();                                          \
  static const ::shm_test::Register register_##id(#id, &id); \
  static void id()

#define CHECK(cond)                                                           \
  do {                                                                        \
    if (!(cond)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond); \
      std::abort();                                                           \
    }                                                                         \
  } while (0)

inline void check_eq(const std::string& got, const std::string& want, const char* file, int line) {
  if (got == want) return;
  std::fprintf(stderr, "%s:%d: got \"%s\", want \"%s\"\n", file, line, got.c_str(), want.c_str());
  std::abort();
}
#define CHECK_EQ(got, want) ::shm_test::check_eq((got), (want), __FILE__, __LINE__)

// How much work the random tests do: SHM_TEST_SCALE, 1 by default.
inline double scale() {
  const char* s = std::getenv("SHM_TEST_SCALE");
  return s != nullptr ? std::atof(s) : 1;
}

struct Rng {
  uint64_t s;
  uint64_t next() {
    s ^= s << 13;
    s ^= s >> 7;
    s ^= s << 17;
    return s;
  }
  uint32_t below(uint32_t n) { return static_cast<uint32_t>((next() >> 16) % n); }
};

struct ZoneHandle {
  Zone* zone = nullptr;
  explicit ZoneHandle(uint64_t size, const std::string& name = "dogs")
      : ZoneHandle(ZoneSpec{.name = name, .size = size}) {}
  explicit ZoneHandle(const ZoneSpec& spec) {
    std::string error;
    zone = zone_registry_open(spec, &error);
    if (zone == nullptr) std::fprintf(stderr, "%s\n", error.c_str());
    CHECK(zone != nullptr);
  }
  ~ZoneHandle() { zone_registry_release(zone); }
  ZoneHandle(const ZoneHandle&) = delete;
  Dict* operator->() const { return &zone->dict; }
  Dict& operator*() const { return zone->dict; }
};

inline Value number(double n) { return {.type = Type::kNumber, .number = n, .bytes = {}}; }
inline Value boolean(bool b) {
  return {.type = Type::kBoolean, .number = b ? 1.0 : 0.0, .bytes = {}};
}
inline Value string(Str s) { return {.type = Type::kString, .number = 0, .bytes = s}; }
inline Value nil() { return {}; }

// A sink over a std::string.
struct StringSink {
  std::string text;
  Sink sink{nullptr, 0,
            [](void* owner, size_t n) {
              auto& t = static_cast<StringSink*>(owner)->text;
              t.resize(n);
              return t.data();
            },
            this};
};

inline std::string show(const GetResult& r) {
  std::string s =
      r.rc == kOk ? ""
                  : "(" + std::to_string(r.rc) + " " + (r.error != nullptr ? r.error : "-") + ") ";
  if (r.rc != kOk) return s;
  char buf[64];
  switch (r.type) {
    case Type::kNil:
      return "nil";
    case Type::kBoolean:
      s += r.number != 0 ? "true" : "false";
      break;
    case Type::kNumber:
      std::snprintf(buf, sizeof buf, "%.17g", r.number);
      s += buf;
      break;
    default:
      s += "'" + std::string(r.data, r.size) + "'";
  }
  if (r.user_flags != 0) s += " flags=" + std::to_string(r.user_flags);
  if (r.stale) s += " stale";
  return s;
}
inline std::string show(const StoreResult& r) {
  return std::to_string(r.rc) + " " + (r.error != nullptr ? r.error : "-") +
         (r.forcible ? " forcible" : "");
}
inline std::string show(const IncrResult& r) {
  char buf[64];
  std::snprintf(buf, sizeof buf, "%.17g", r.rc == kOk ? r.number : 0);
  return std::to_string(r.rc) + " " + (r.error != nullptr ? r.error : buf) +
         (r.forcible ? " forcible" : "");
}
inline std::string show(const PushResult& r) {
  return std::to_string(r.rc) + " " + (r.error != nullptr ? r.error : std::to_string(r.length));
}

inline std::string get(Dict& d, Str key, int64_t now) {
  StringSink s;
  return show(d.get(key, now, s.sink));
}
inline std::string get_stale(Dict& d, Str key, int64_t now) {
  StringSink s;
  return show(d.get_stale(key, now, s.sink));
}
inline std::string pop(Dict& d, Str key, End end, int64_t now) {
  StringSink s;
  return show(d.pop(key, end, now, s.sink));
}
inline std::string keys(Dict& d, uint32_t max, int64_t now) {
  std::string all;
  d.keys(
      max, now,
      [](void* owner, Str key) { *static_cast<std::string*>(owner) += std::string(key) + ","; },
      &all);
  return all;
}

}  // namespace shm_test
