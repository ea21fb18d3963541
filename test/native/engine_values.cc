// Variables, complex values, map, geo, split_clients, access rules, log formats, phase steps.
#include "engine/access_log.h"
#include "engine/map.h"
#include "engine/variables/core.h"
#include "engine_test.h"

namespace engine_test {

TEST(complex_values) {
  Fixture f;
  http::Complex several = complex(*f.plan, "$uri-$arg_x-$args-$is_args$http_none.");
  http::Complex one = complex(*f.plan, "$request_method");
  http::Complex literal = complex(*f.plan, "text");
  f.seal();
  Request* r = f.request("/a%20b?y=1&X=2");
  CHECK_EQ(eval(r, several), "/a b-2-y=1&X=2-?.");
  CHECK_EQ(eval(r, one), "GET");
  CHECK(eval(r, literal).data() == literal.text.data());
}

TEST(names) {
  Fixture f;
  variable(*f.plan, "mine", VariableSlot::kSet);
  f.plan->variables[0].assigned = true;
  f.seal();
  Request* r = f.request("/u?a=b");
  CHECK_EQ(value_of(get_variable(r, "arg_a")), "b");
  CHECK(get_variable(r, "nonsense") == nullptr);
  CHECK(get_variable(r, "arg_none")->not_found);
  const char* error = "";
  Str value = "v";
  CHECK(set_variable(r, "mine", &value, &error, *r->pool) == kOk);
  CHECK_EQ(value_of(get_variable(r, "mine")), "v");
  CHECK(set_variable(r, "args", &value, &error, *r->pool) == kOk);
  CHECK_EQ(r->args, "v");
  CHECK(set_variable(r, "uri", &value, &error, *r->pool) == kError);
  CHECK_EQ(std::string(error), "variable \"uri\" not changeable");
  CHECK(set_variable(r, "nosuch", &value, &error, *r->pool) == kError);
  CHECK(std::string(error).starts_with(
      "variable \"nosuch\" not found for writing; maybe it is a built-in variable"));
  CHECK(parse_size("10k") == 10240 && parse_size("1m") == 1 << 20 && parse_size("x") == -1 &&
        parse_size("") == -1);
}

TEST(maps) {
  Fixture f;
  VariableSlot slot;
  slot.name = "mapped";
  slot.kind = VariableSlot::kMap;
  slot.map = std::make_unique<MapPlan>();
  slot.map->source = complex(*f.plan, "$arg_k");
  slot.map->hostnames = true;
  slot.map->exact["one"] = complex(*f.plan, "1");
  slot.map->masks.emplace_back("*.example.com", complex(*f.plan, "head"));
  slot.map->masks.emplace_back("*.deep.example.com", complex(*f.plan, "deeper"));
  slot.map->masks.emplace_back("www.example.*", complex(*f.plan, "tail"));
  slot.map->regex.emplace_back(regex("^r(?<tail_of_it>.+)$"), complex(*f.plan, "<$1>"));
  slot.map->fallback = complex(*f.plan, "none:$arg_k");
  f.plan->variables.push_back(std::move(slot));
  f.seal();
  auto get = [&](const char* key) {
    return std::string(value_of(get_variable(f.request(std::string("/?k=") + key), "mapped")));
  };
  CHECK_EQ(get("ONE"), "1");
  CHECK_EQ(get("a.example.com."), "head");
  CHECK_EQ(get("a.deep.example.com"), "deeper");
  CHECK_EQ(get("www.example.org"), "tail");
  CHECK_EQ(get("rest"), "<est>");
  CHECK_EQ(get("zzz"), "none:zzz");
}

TEST(geo_and_split) {
  Fixture f;
  VariableSlot slot;
  slot.name = "where";
  slot.kind = VariableSlot::kGeo;
  slot.geo = std::make_unique<GeoPlan>();
  slot.geo->source = complex(*f.plan, "$arg_a");
  slot.geo->fallback = "far";
  slot.geo->ranges = {{"10.0.0.0/8", "ten"},
                      {"10.1.0.0/16", "ten-one"},
                      {"2001:db8::/32", "doc"},
                      {"127.0.0.1", "me"}};
  f.plan->variables.push_back(std::move(slot));
  VariableSlot split;
  split.name = "part";
  split.kind = VariableSlot::kSplit;
  split.split = std::make_unique<SplitPlan>();
  split.split->source = complex(*f.plan, "$arg_a");
  split.split->parts = {{5000, "a"}, {10000, "b"}};
  f.plan->variables.push_back(std::move(split));
  f.seal();
  auto get = [&](const char* name, const std::string& a) {
    return std::string(value_of(get_variable(f.request("/?a=" + a), name)));
  };
  CHECK_EQ(get("where", "10.2.3.4"), "ten");
  CHECK_EQ(get("where", "10.1.3.4"), "ten-one");
  CHECK_EQ(get("where", "127.0.0.1"), "me");
  CHECK_EQ(get("where", "127.0.0.2"), "far");
  CHECK_EQ(get("where", "2001:db8::5"), "doc");
  CHECK_EQ(get("where", "nonsense"), "far");
  int a = 0;
  for (int i = 0; i < 1000; ++i) a += get("part", std::to_string(i)) == "a";
  check(a > 400 && a < 600, "half of them", __FILE__, __LINE__, std::to_string(a));
}

TEST(log_lines) {
  Fixture f;
  LogFormat plain, json, none;
  plain.value = json.value = none.value = complex(*f.plan, "[$arg_a] $http_none $remote_addr");
  json.escape = LogFormat::kJson;
  none.escape = LogFormat::kNone;
  f.seal();
  Request* r = f.request("/?a=x\"\x01\xc3\xa9");
  CHECK_EQ(format_line(r, plain), "[x\\x22\\x01\\xC3\\xA9] - 192.0.2.7");
  CHECK_EQ(format_line(r, json), "[x\\\"\\u0001\xc3\xa9]  192.0.2.7");
  CHECK_EQ(format_line(r, none), "[x\"\x01\xc3\xa9]  192.0.2.7");
}

TEST(errors_of_patterns) {
  std::string error;
  CHECK(Regex::compile("a(b", false, &error) == nullptr);
  CHECK_EQ(error, "pcre2_compile() failed: missing closing parenthesis in \"a(b\"");
  CHECK(Regex::compile("a)b", false, &error) == nullptr);
  CHECK_EQ(error, "pcre2_compile() failed: unmatched closing parenthesis in \"a)b\" at \")b\"");
}

TEST(networks) {
  uint8_t a[16];
  int bits;
  bool v4;
  CHECK(parse_cidr("192.168.1.77/24", a, &bits, &v4) && bits == 120 && v4 && a[15] == 0 &&
        a[14] == 1);
  CHECK(parse_cidr("::1", a, &bits, &v4) && bits == 128 && !v4);
  CHECK(!parse_cidr("1.2.3.4/33", a, &bits, &v4) && !parse_cidr("1.2.3", a, &bits, &v4));
}

TEST(phases_of_openresty) {
  CHECK_EQ(std::string(phase_row(kPhaseContent)->name), "content");
  CHECK(phase_row(kPhaseContent)->strict & kCapSubrequest);
  CHECK(!(phase_row(kPhaseLog)->strict & kCapYield) &&
        (phase_row(kPhaseLog)->extended & kCapYield));
  CHECK(!(phase_row(kPhaseServerRewrite)->strict & kCapSubrequest));
  CHECK_EQ(std::string(phase_row(kPhaseInit)->directive), "init_by_lua*");
  CHECK_EQ(std::string(phase_row(kPhaseProxySslCert)->name), "proxy_ssl_cert");
  CHECK(phase_row(0x80000) == nullptr && phase_row(3) == nullptr);
}

}  // namespace engine_test
