// proxy_pass over HTTP/1.0 and 1.1: what the request says, and how the answer is read.
#pragma once

#include <string>
#include <vector>

#include "engine/modules/pass.h"
#include "engine/regex.h"

namespace moonphase::engine {

// proxy_redirect, proxy_cookie_path, proxy_cookie_domain
struct ProxyRedirect {
  Complex pattern;  // without a regex
  RegexPtr regex;
  Complex replacement;
};

// proxy_cookie_flags: of the first rule whose name or regex matches
struct ProxyCookieFlags {
  Complex name;  // without a regex
  RegexPtr regex;
  std::vector<Complex> flags;
};

struct ProxyConf : PassConf {
  std::string uri, location;
  std::vector<ProxyRedirect> redirects, cookie_domains, cookie_paths;
  std::vector<ProxyCookieFlags> cookie_flags;
  bool rewrites_cookies() const {
    return !cookie_domains.empty() || !cookie_paths.empty() || !cookie_flags.empty();
  }
  bool has_body = false, has_method = false, pass_headers_in = true, pass_body = true,
       http11 = true;
  Complex body, method;
};

// Resolves the hosts of all `proxy_pass`; `error` in nginx's words with its place.
bool seal_proxy(Plan& plan, std::string* error);
void register_proxy();
void register_auth_request();

// auth_request, auth_request_set
struct AuthRequestConf {
  Complex uri;
  std::vector<std::pair<int, Complex>> set;
};

namespace proxy {
// One request's; behind Upstream::data and r->ctx[kModProxy].
struct Ctx : PassTarget {
  const ProxyConf* conf = nullptr;
  int64_t body_length = -1;
  bool chunked_body = false, head = false;
  // the answer
  enum State : uint8_t { kStatusLine, kHeaders } state = kStatusLine;
  void* chunks = nullptr;  // http::ChunkDecoder
  Buf trailer;             // what has come of it (proxy_pass_trailers)
};
inline Ctx* ctx_of(const Request* r) { return static_cast<Ctx*>(r->ctx[kModProxy]); }
extern const UpstreamProtocol kProtocol;
// proxy_response.cc
void restart(Upstream& u);
int process_header(Upstream& u);
int begin_body(Upstream& u);
int body(Upstream& u, char* from, char* to);
bool rewrite_location(Upstream& u, Header* h, size_t prefix);
bool rewrite_by_prefix(Request* r, const ProxyRedirect& rule, Str value, Str* to);
// proxy_cookie.cc
void rewrite_cookie(Upstream& u, Header* h);
}  // namespace proxy

}  // namespace moonphase::engine
