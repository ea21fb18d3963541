// URIs against what nginx makes of them; escaping and unescaping.
#include "http/uri.h"

#include "http_check.h"
#include "http_uri_table.h"

using namespace moonphase;
using namespace moonphase::http;

namespace {

std::string parsed(const char* raw, bool merge) {
  Arena a;
  Request r;
  r.pool = &a;
  r.unparsed_uri = raw;
  if (parse_request_uri(&r, merge) != kOk) return "400";
  return std::string(r.uri) + "|" + std::string(r.args);
}

void extension(const char* raw, const char* want) {
  Arena a;
  Request r;
  r.pool = &a;
  r.unparsed_uri = raw;
  parse_request_uri(&r, true);
  same(r.exten, want, raw);
}

void escaped(Escape type, const char* in, const char* want) {
  Arena a;
  same(escape(a, in, type), want, in);
}

void unescaped(Unescape type, const char* in, const char* want) {
  char out[200];
  same({out, static_cast<size_t>(unescape(out, in, type) - out)}, want, in);
}

void unsafe(const char* in, const char* want_uri, const char* want_args) {
  Arena a;
  Request r;
  r.pool = &a;
  Str uri = in, args;
  unsigned flags = 0;
  int rc = parse_unsafe_uri(&r, &uri, &args, &flags);
  if (!want_uri) {
    check(rc == kError, "unsafe URI accepted", in);
    return;
  }
  check(rc == kOk, "safe URI refused", in);
  same(uri, want_uri, in);
  same(args, want_args, in);
}

}  // namespace

int main() {
  for (const UriRow& x : kUriRows) {
    same(parsed(x.raw, true), x.merged ? x.merged : "400", x.raw);
    same(parsed(x.raw, false), x.unmerged ? x.unmerged : "400", x.raw);
  }
  extension("/a.html", "html");
  extension("/a.b/c", "");
  extension("/a.b.c?x.y", "c");
  extension("/.htaccess", "");
  extension("/a//b.tar.gz", "gz");
  extension("/a%2ehtml", "html");

  escaped(Escape::kUri, "/a b?c#d%e+\x7f\xff&;=", "/a%20b%3Fc%23d%25e+%7F%FF&;=");
  escaped(Escape::kArgs, "a&b+c;d?e", "a%26b%2Bc%3Bd%3Fe");
  escaped(Escape::kUriComponent, "/a:b-._~", "%2Fa%3Ab-._~");
  escaped(Escape::kHtml, "a'b#c?d", "a%27b%23c?d");
  escaped(Escape::kRefresh, "a'b}c~", "a%27b}c%7E");
  escaped(Escape::kMemcached, "a b%\x01\xff", "a%20b%25%01\xff");

  unescaped(Unescape::kPlain, "a%20b%3fc?d%2f", "a b?c?d/");
  unescaped(Unescape::kUri, "a%20b?c%20", "a b?");
  unescaped(Unescape::kUri, "a%3Fb", "a?");
  unescaped(Unescape::kRedirect, "a%20%41%2f%25", "a%20A/%25");
  unescaped(Unescape::kPlain, "%zz%4zx%4", "zzx");

  unsafe("/a?b", "/a", "b");
  unsafe("/a%20b", "/a b", "");
  unsafe("", nullptr, nullptr);
  unsafe("?a", nullptr, nullptr);
  unsafe("/../a", nullptr, nullptr);
  unsafe("/a/..", nullptr, nullptr);
  unsafe("/%2e%2e/a", nullptr, nullptr);
  unsafe("/a%00b", nullptr, nullptr);
  unsafe("../a", nullptr, nullptr);
  unsafe("/a..b/..c", "/a..b/..c", "");
  return g_failures != 0;
}
