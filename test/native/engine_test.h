// Plans made by hand, and requests on them, without a loop and without Lua.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "engine/lifecycle.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"
#include "http/uri.h"

namespace engine_test {

using namespace moonphase;          // NOLINT
using namespace moonphase::engine;  // NOLINT

struct Test {
  const char* name;
  void (*run)();
};
std::vector<Test>& tests();
struct Register {
  Register(const char* name, void (*run)()) { tests().push_back({name, run}); }
};
#define TEST(name)                                    \
  static void name();                                 \
  static const Register register_##name(#name, name); \
  static void name()

extern int failures;
void check(bool ok, const char* what, const char* file, int line, const std::string& seen = {});
#define CHECK(x) check((x), #x, __FILE__, __LINE__)
#define CHECK_EQ(a, b)                                                                          \
  do {                                                                                          \
    const auto a__ = std::string(a), b__ = std::string(b);                                      \
    check(a__ == b__, #a " == " #b, __FILE__, __LINE__, "\"" + a__ + "\" and \"" + b__ + "\""); \
  } while (0)

// "$host/x$1": variables of the plan by name (added where they are missing), captures by digit.
http::Complex complex(Plan& plan, const std::string& text);
int variable(Plan& plan, const std::string& name, VariableSlot::Kind kind = VariableSlot::kBuiltin);
RegexPtr regex(const std::string& pattern);

class MemoryLog final : public LogSink {
 public:
  void write(int, Str line) override { text += line; }
  std::string text;
};

// One server with its configuration; more is added by the test, then seal().
struct Fixture {
  Fixture();
  ~Fixture();
  LocConf* conf(const std::string& name, LocConf::Kind kind = LocConf::kPrefix);
  LocConf* location(LocConf* outer, const std::string& name, LocConf::Kind kind = LocConf::kPrefix);
  void seal();
  Request* request(const std::string& uri);  // freed with the fixture
  MemoryLog log;
  Log::Target target{&log, kLogNotice};
  std::unique_ptr<Plan> owned = std::make_unique<Plan>();
  Plan* plan = owned.get();
  ServerConf* server = nullptr;
  LocConf* root = nullptr;
  Generation generation;
  struct Slot;
  std::vector<Slot*> slots;
};

}  // namespace engine_test
