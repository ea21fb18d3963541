// Programs of the rewrite module.
#include "engine/rewrite.h"
#include "engine_test.h"

namespace engine_test {

namespace {

RewriteOp set(Fixture& f, const std::string& name, const std::string& value) {
  RewriteOp op;
  op.kind = RewriteOp::kSet;
  op.var = variable(*f.plan, name, VariableSlot::kSet);
  op.value = complex(*f.plan, value);
  return op;
}
RewriteOp rewrite(Fixture& f, const std::string& pattern, std::string to,
                  RewriteOp::Flag flag = RewriteOp::kNone) {
  RewriteOp op;
  op.kind = RewriteOp::kRewrite;
  op.regex = regex(pattern);
  op.add_args = !to.ends_with('?');
  if (!op.add_args) to.pop_back();
  op.absolute = to.starts_with("http://");
  op.value = complex(*f.plan, to);
  op.flag = flag;
  return op;
}
RewriteOp condition(Fixture& f, const std::string& name, Condition::Kind kind,
                    const std::string& what, bool negate) {
  RewriteOp op;
  op.kind = RewriteOp::kIf;
  op.cond.kind = kind;
  op.cond.var = variable(*f.plan, name);
  op.cond.negate = negate;
  if (kind == Condition::kMatch)
    op.cond.regex = regex(what);
  else
    op.cond.value = complex(*f.plan, what);
  return op;
}

struct Result {
  int rc;
  std::string uri, args, location;
  Request* r;
};
Result run(Fixture& f, const std::string& uri) {
  Request* r = f.request(uri);
  r->loc = f.plan->confs.back().get();
  int rc = location_rewrite_ops(r);
  const http::Header* location = r->headers_out.location;
  return {rc, std::string(r->uri), std::string(r->args),
          location ? std::string(location->value) : "", r};
}

}  // namespace

TEST(rewrite_appends_arguments) {
  Fixture f;
  LocConf* c = f.location(f.root, "/");
  c->rewrite_ops.push_back(rewrite(f, "^/a/(.*)$", "/b/$1?x=1"));
  f.seal();
  Result got = run(f, "/a/c?y=2");
  CHECK(got.rc == kDeclined && got.r->uri_changed && got.r->internal);
  CHECK_EQ(got.uri + "?" + got.args, "/b/c?x=1&y=2");
  got = run(f, "/a/c");
  CHECK_EQ(got.uri + "?" + got.args, "/b/c?x=1");
  CHECK_EQ(run(f, "/z?k").uri, "/z");
}

TEST(rewrite_drops_arguments) {
  Fixture f;
  f.location(f.root, "/")->rewrite_ops.push_back(rewrite(f, "^/a$", "/b?", RewriteOp::kLast));
  f.seal();
  Result got = run(f, "/a?y=2");
  CHECK_EQ(got.uri + "?" + got.args, "/b?");
}

TEST(captures_are_escaped_in_arguments) {
  Fixture f;
  f.location(f.root, "/")->rewrite_ops.push_back(rewrite(f, "^/a/(.*)$", "/b/$1?c=$1"));
  f.seal();
  Result got = run(f, "/a/x%26%20y");
  CHECK_EQ(got.uri, "/b/x& y");
  CHECK_EQ(got.args, "c=x%26%20y");
}

TEST(rewrite_redirects) {
  Fixture f;
  LocConf* c = f.location(f.root, "/");
  c->rewrite_ops.push_back(rewrite(f, "^/a/(.*)$", "/b/$1", RewriteOp::kPermanent));
  c->rewrite_ops.push_back(rewrite(f, "^/q$", "/b?z", RewriteOp::kRedirect));
  c->rewrite_ops.push_back(rewrite(f, "^", "http://other/$request_uri?"));
  f.seal();
  Result got = run(f, "/a/x%20y?k=v");
  CHECK(got.rc == 301);
  CHECK_EQ(got.location, "/b/x%20y?k=v");
  got = run(f, "/q?k");
  CHECK(got.rc == 302);
  CHECK_EQ(got.location, "/b?z&k");
  got = run(f, "/e?k");
  CHECK(got.rc == 302);
  CHECK_EQ(got.location, "http://other//e?k");
}

TEST(flags_and_break) {
  Fixture f;
  LocConf* c = f.location(f.root, "/");
  c->rewrite_ops.push_back(rewrite(f, "^/a", "/b", RewriteOp::kBreakFlag));
  c->rewrite_ops.push_back(rewrite(f, "^/b", "/c"));
  RewriteOp stop;
  stop.kind = RewriteOp::kBreak;
  c->rewrite_ops.push_back(std::move(stop));
  c->rewrite_ops.push_back(rewrite(f, "^/c", "/d"));
  f.seal();
  Result got = run(f, "/a");
  CHECK_EQ(got.uri, "/b");
  CHECK(!got.r->uri_changed && !got.r->valid_location);
  got = run(f, "/b");
  CHECK_EQ(got.uri, "/c");
  CHECK(!got.r->uri_changed);
}

TEST(conditions) {
  Fixture f;
  LocConf* c = f.location(f.root, "/");
  c->rewrite_ops.push_back(set(f, "out", ""));
  auto add = [&](RewriteOp op, const std::string& mark) {
    op.then.push_back(set(f, "out", "$out+" + mark));
    c->rewrite_ops.push_back(std::move(op));
  };
  add(condition(f, "arg_a", Condition::kVar, "", false), "v");
  add(condition(f, "arg_a", Condition::kEqual, "1", false), "e");
  add(condition(f, "arg_a", Condition::kEqual, "1", true), "n");
  add(condition(f, "arg_a", Condition::kMatch, "^(\\d)(\\d)$", false), "[$2$1]");
  add(condition(f, "arg_a", Condition::kMatch, "^x", true), "m");
  add(condition(f, "arg_a", Condition::kFile, "/etc/passwd", false), "f");
  add(condition(f, "arg_a", Condition::kDir, "/etc/passwd", true), "d");
  add(condition(f, "arg_a", Condition::kExists, "/nowhere/at/all", false), "x");
  f.seal();
  auto out = [&](const char* uri) {
    return std::string(value_of(get_variable(run(f, uri).r, "out")));
  };
  CHECK_EQ(out("/?a=1"), "+v+e+m+f+d");
  CHECK_EQ(out("/?a=0"), "+n+m+f+d");
  CHECK_EQ(out("/?a=47"), "+v+n+[74]+m+f+d");
  CHECK_EQ(out("/?a=x"), "+v+n+f+d");
}

TEST(if_replaces_the_configuration) {
  Fixture f;
  LocConf* inner = f.conf("/", LocConf::kIf);
  LocConf* c = f.location(f.root, "/");
  RewriteOp op = condition(f, "arg_a", Condition::kVar, "", false);
  op.conf = inner;
  c->rewrite_ops.push_back(std::move(op));
  f.seal();
  CHECK(run(f, "/?a=1").r->loc == inner);
  CHECK(run(f, "/").r->loc == c);
  CHECK(inner->parent == c);
}

TEST(notices_and_warnings) {
  Fixture f;
  LocConf* c = f.location(f.root, "/");
  c->rewrite_log = true;
  int unset = variable(*f.plan, "unset", VariableSlot::kSet);
  c->rewrite_ops.push_back(rewrite(f, "^/a", "/b$unset?q"));
  f.seal();
  (void)unset;
  run(f, "/a");
  CHECK(f.log.text.find("[notice]") != std::string::npos);
  CHECK(f.log.text.find("\"^/a\" matches \"/a\"") != std::string::npos);
  CHECK(f.log.text.find("rewritten data: \"/b\", args: \"q\"") != std::string::npos);
  CHECK(f.log.text.find("using uninitialized \"unset\" variable") != std::string::npos);
}

}  // namespace engine_test
