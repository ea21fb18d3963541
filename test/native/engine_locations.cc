// The location search against nginx's rules, written plainly.
#include <random>
#include <set>

#include "engine/locations.h"
#include "engine_test.h"

namespace engine_test {

namespace {

// Exact; else the same name; else the name with a slash where that redirects; else the longest
// prefix.
LocConf* plain_search(const LocationTree& tree, Str uri, int* rc) {
  const LocationTree::Static* same = nullptr;
  const LocationTree::Static* longest = nullptr;
  const LocationTree::Static* slashed = nullptr;
  bool redirects = false;
  for (const auto& s : tree.prefixes) {
    if (s.exact && s.name == uri) {
      *rc = kOk;
      return s.conf;
    }
    if (!s.exact && s.name == uri) same = &s;
    if (!s.exact && uri.starts_with(s.name) && (!longest || s.name.size() > longest->name.size()))
      longest = &s;
    if (s.name == std::string(uri) + "/") {
      redirects |= s.conf->auto_redirect;
      if (!slashed || s.exact) slashed = &s;
    }
  }
  *rc = same ? kAgain : redirects ? kDone : longest ? kAgain : kDeclined;
  return same ? same->conf : redirects ? slashed->conf : longest ? longest->conf : nullptr;
}

std::string find(Fixture& f, const std::string& uri) {
  Request* r = f.request(uri);
  int rc = find_location(r);
  return std::to_string(rc) + " " + r->loc->name;
}

}  // namespace

TEST(random_trees) {
  std::mt19937 random(1);
  auto name = [&] {
    std::string s = "/";
    for (size_t n = random() % 5; n > 0; --n) s += "ab/-"[random() % 4];
    return s;
  };
  for (int round = 0; round < 300; ++round) {
    Fixture f;
    std::set<std::pair<std::string, bool>> used;
    for (size_t n = random() % 12; n > 0; --n) {
      std::string s = name();
      bool exact = random() % 3 == 0;
      if (!used.insert({s, exact}).second) continue;
      LocConf* c = f.location(f.root, s, exact ? LocConf::kExact : LocConf::kPrefix);
      c->auto_redirect = s.ends_with('/') && random() % 2;
    }
    seal_locations(f.root->locations);
    for (int i = 0; i < 200; ++i) {
      std::string uri = name();
      int rc, plain_rc;
      LocConf* found = find_static(f.root->locations, uri, &rc);
      LocConf* plain = plain_search(f.root->locations, uri, &plain_rc);
      CHECK_EQ(uri + std::to_string(rc) + (found ? found->name : "-"),
               uri + std::to_string(plain_rc) + (plain ? plain->name : "-"));
    }
  }
}

TEST(regex_and_nested) {
  Fixture f;
  f.location(f.root, "/", LocConf::kPrefix);
  LocConf* images = f.location(f.root, "/images/");
  f.root->locations.prefixes.back().conf->noregex = true;
  f.location(f.root, "/exact", LocConf::kExact);
  f.location(f.root, "\\.gif$", LocConf::kRegex);
  LocConf* api = f.location(f.root, "/api/");
  f.location(api, "/api/v1/");
  f.location(api, "\\.json$", LocConf::kRegex);
  LocConf* php = f.location(f.root, "^/(?<script>.+)\\.php$", LocConf::kRegex);
  f.location(php, "/inner.php", LocConf::kExact);
  variable(*f.plan, "script", VariableSlot::kSet);
  f.seal();
  CHECK(images->noregex);
  CHECK_EQ(find(f, "/x"), "-5 /");
  CHECK_EQ(find(f, "/x.gif"), "0 \\.gif$");
  CHECK_EQ(find(f, "/images/x.gif"), "-5 /images/");
  CHECK_EQ(find(f, "/exact"), "0 /exact");
  CHECK_EQ(find(f, "/api/v1/x"), "-5 /api/v1/");
  CHECK_EQ(find(f, "/api/x.json"), "0 \\.json$");
  CHECK_EQ(find(f, "/api/v1/x.gif"), "0 \\.gif$");
  CHECK_EQ(find(f, "/inner.php"), "0 /inner.php");
  Request* r = f.request("/a/b.php");
  find_location(r);
  CHECK_EQ(value_of(get_variable(r, "script")), "a/b");
  CHECK_EQ(capture(r, 1), "a/b");
}

}  // namespace engine_test
