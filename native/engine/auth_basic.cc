// auth_basic: user and password against a file (ngx_http_auth_basic_module).
#include <strings.h>

#include <cerrno>
#include <fstream>
#include <iterator>

#include "engine/content.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/variables/core.h"
#include "http/output.h"

namespace moonphase::engine {

namespace {

int ask_for_user(Request* r, Str realm) {
  http::Header* h = r->headers_out.list.add(*r->pool, "WWW-Authenticate",
                                            r->pool->join({"Basic realm=\"", realm, "\""}));
  r->headers_out.www_authenticate = h;
  return 401;
}

// The stored password of `user` in the text of a password file: name, colon, password, and more
// behind a colon.
bool find_user(Str text, Str user, Str* stored) {
  while (!text.empty()) {
    size_t end = text.find('\n');
    Str line = text.substr(0, end);
    text.remove_prefix(end == Str::npos ? text.size() : end + 1);
    if (line.starts_with('#') || !line.starts_with(user) || line.size() <= user.size() ||
        line[user.size()] != ':')
      continue;
    line.remove_prefix(user.size() + 1);
    *stored = line.substr(0, line.find_first_of(":\r"));
    return true;
  }
  return false;
}

}  // namespace

Str decode_base64(Arena& a, Str s) {
  while (s.ends_with('=')) s.remove_suffix(1);
  if (s.size() % 4 == 1) return {};
  char* start = a.bytes(s.size() * 3 / 4 + 1);
  char* p = start;
  uint32_t bits = 0;
  int have = 0;
  for (char c : s) {
    int v = c >= 'A' && c <= 'Z'   ? c - 'A'
            : c >= 'a' && c <= 'z' ? c - 'a' + 26
            : c >= '0' && c <= '9' ? c - '0' + 52
            : c == '+'             ? 62
            : c == '/'             ? 63
                                   : -1;
    if (v < 0) return {};
    bits = bits << 6 | static_cast<uint32_t>(v);
    have += 6;
    if (have >= 8) {
      have -= 8;
      *p++ = static_cast<char>(bits >> have & 0xff);
    }
  }
  *p = 0;
  return {start, static_cast<size_t>(p - start)};
}

int basic_user(Request* r) {
  http::HeadersIn& in = r->headers_in;
  if (in.user.data()) return in.user.empty() ? kDeclined : kOk;
  in.user = "";
  if (!in.authorization) return kDeclined;
  Str encoded = in.authorization->value;
  if (encoded.size() < 6 || strncasecmp(encoded.data(), "Basic ", 6) != 0) return kDeclined;
  encoded.remove_prefix(std::min(encoded.find_first_not_of(' ', 6), encoded.size()));
  Str auth = decode_base64(*r->pool, encoded);
  size_t colon = auth.find(':');
  if (colon == 0 || colon == Str::npos) return kDeclined;
  in.user = auth.substr(0, colon);
  in.passwd = auth.substr(colon + 1);
  return kOk;
}

int auth_basic_handler(Request* r) {
  const LocConf* conf = loc(r);
  if (!conf->has_auth_basic) return kDeclined;
  Str realm = eval(r, conf->auth_basic);
  if (realm == "off") return kDeclined;

  if (basic_user(r) != kOk) {
    MOONPHASE_LOG(r, kLogInfo, 0, "no user/password was provided for basic authentication");
    return ask_for_user(r, realm);
  }
  const char* path = r->pool->c_str(eval(r, conf->auth_basic_user_file));
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    int err = errno;
    MOONPHASE_LOG(r, err == ENOENT ? kLogErr : kLogCrit, err, "open() \"%s\" failed", path);
    return err == ENOENT ? 403 : 500;
  }
  std::string text{std::istreambuf_iterator<char>(file), {}};
  Str stored, user = r->headers_in.user;
  if (!find_user(text, user, &stored)) {
    MOONPHASE_LOG(r, kLogErr, 0, "user \"%.*s\" was not found in \"%s\"", STR(user), path);
    return ask_for_user(r, realm);
  }
  switch (check_password(r, r->headers_in.passwd, stored)) {
    case kOk:
      return kOk;
    case kDeclined:
      MOONPHASE_LOG(r, kLogErr, 0, "user \"%.*s\": password mismatch", STR(user));
      return ask_for_user(r, realm);
    default:
      return 500;
  }
}

}  // namespace moonphase::engine
