#include "engine_test.h"

namespace engine_test {

int failures = 0;
std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

void check(bool ok, const char* what, const char* file, int line, const std::string& seen) {
  if (ok) return;
  ++failures;
  std::printf("%s:%d: %s%s%s\n", file, line, what, seen.empty() ? "" : ": ", seen.c_str());
}

int variable(Plan& plan, const std::string& name, VariableSlot::Kind kind) {
  for (size_t i = 0; i < plan.variables.size(); ++i)
    if (plan.variables[i].name == name) return static_cast<int>(i);
  plan.variables.emplace_back();
  plan.variables.back().name = name;
  plan.variables.back().kind = kind;
  return static_cast<int>(plan.variables.size()) - 1;
}

http::Complex complex(Plan& plan, const std::string& text) {
  http::Complex value;
  std::string literal;
  auto flush = [&] {
    if (!literal.empty()) value.parts.push_back({http::Complex::Part::kText, 0, literal});
    literal.clear();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$') {
      literal += text[i];
      continue;
    }
    flush();
    if (text[i + 1] >= '1' && text[i + 1] <= '9') {
      value.parts.push_back({http::Complex::Part::kCapture, text[++i] - '0', {}});
      continue;
    }
    std::string name;
    while (i + 1 < text.size() && (std::isalnum(text[i + 1]) || text[i + 1] == '_'))
      name += text[++i];
    value.parts.push_back({http::Complex::Part::kVar, variable(plan, name), {}});
  }
  if (value.parts.empty())
    value.text = literal;
  else
    flush();
  return value;
}

RegexPtr regex(const std::string& pattern) {
  std::string error;
  RegexPtr re = Regex::compile(pattern, false, &error);
  check(re != nullptr, "regex compiles", pattern.c_str(), 0, error);
  return re;
}

namespace {
class NoConnection final : public http::Connection {
 public:
  ssize_t recv(void*, size_t) override { return -1; }
  ssize_t peek() override { return -1; }
  Str preread(size_t*) const override { return {}; }
  void give_back(Str) override {}
  Chain* send(Chain*, int64_t) override { return nullptr; }
  bool flush() override { return true; }
  void want_read(bool) override {}
  void want_write(bool) override {}
  const sockaddr* local_address() override { return nullptr; }
  void finish(Request*) override {}
  void abandon(Request*, int) override {}
  char* append(char* p, char*) const override { return p; }
};
}  // namespace

struct Fixture::Slot {
  Arena arena;
  NoConnection connection;
  Request request;
};

Fixture::Fixture() {
  root = conf("", LocConf::kServer);
  plan->main_conf = root;
  plan->servers.push_back(std::make_unique<ServerConf>());
  server = plan->servers.back().get();
  server->conf = root;
  server->names.push_back({"example.com", http::ServerName::kExact, "", false});
}

Fixture::~Fixture() {
  for (Slot* slot : slots) delete slot;
}

LocConf* Fixture::conf(const std::string& name, LocConf::Kind kind) {
  plan->confs.push_back(std::make_unique<LocConf>());
  LocConf* c = plan->confs.back().get();
  c->name = name;
  c->kind = kind;
  c->root.text = "/srv";
  c->error_log.targets = &target;
  c->error_log.count = 1;
  c->error_log.max_level = target.level;
  return c;
}

LocConf* Fixture::location(LocConf* outer, const std::string& name, LocConf::Kind kind) {
  LocConf* c = conf(name, kind);
  if (kind == LocConf::kRegex)
    outer->locations.regex.emplace_back(regex(name), c);
  else if (kind == LocConf::kNamed)
    outer->locations.named.emplace_back(name, c);
  else
    outer->locations.prefixes.push_back({name, kind == LocConf::kExact, false, c});
  return c;
}

void Fixture::seal() {
  std::string error;
  bool ok = plan->seal(&error);
  check(ok, "seal", __FILE__, __LINE__, error);
  generation.plan = std::move(owned);
}

Request* Fixture::request(const std::string& uri) {
  auto* slot = new Slot;
  slots.push_back(slot);
  Request* r = &slot->request;
  r->pool = &slot->arena;
  r->conn = &slot->connection;
  r->main = r;
  r->conn->request = r->conn->active = r;
  r->generation = &generation;
  r->srv = server;
  r->loc = root;
  r->conn->log = root->error_log;
  r->method = http::kGet;
  r->method_name = "GET";
  r->http_version = http::kVersion11;
  r->unparsed_uri = slot->arena.copy(uri);
  r->valid_location = true;
  r->conn->addr_text = "192.0.2.7";
  r->variables = slot->arena.array<VarValue>(plan->variables.size());
  check(http::parse_request_uri(r, true) == kOk, "uri", __FILE__, __LINE__, uri);
  return r;
}

}  // namespace engine_test

int main() {
  using namespace engine_test;  // NOLINT
  for (const Test& test : tests()) {
    int before = failures;
    test.run();
    if (failures != before) std::printf("not ok: %s\n", test.name);
  }
  std::printf("%zu tests, %d failures\n", tests().size(), failures);
  return failures ? 1 : 0;
}
