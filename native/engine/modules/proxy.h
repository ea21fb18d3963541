// proxy_pass over HTTP/1.0 and 1.1: what the request says, and how the answer is read.
#pragma once

#include <string>
#include <vector>

#include "engine/regex.h"
#include "engine/upstream.h"

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

struct ProxyHeader {
  std::string name;
  Complex value;
};

struct ProxyConf {
  UpstreamConf upstream;
  // Where to: as parts, or `url` with variables.
  Complex url;
  bool dynamic = false, ssl = false;
  std::string schema = "http://", host, uri, location;
  int port = 80;
  bool no_port = true, unix_socket = false;
  std::string port_text;
  UpstreamGroup* group = nullptr;  // made by seal_proxy()

  std::vector<ProxyRedirect> redirects, cookie_domains, cookie_paths;
  std::vector<ProxyCookieFlags> cookie_flags;
  bool rewrites_cookies() const {
    return !cookie_domains.empty() || !cookie_paths.empty() || !cookie_flags.empty();
  }
  std::vector<ProxyHeader> set_headers;  // as configured; the defaults behind them by seal_proxy()
  bool sets_host = false;                // `Host` is one of them
  http::NameSet replaced;                // the client's headers that are not passed
  std::vector<std::string> hide_headers, pass_headers;
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
struct Ctx {
  const ProxyConf* conf = nullptr;
  Str schema, host_header, port, uri;  // $proxy_host, $proxy_port
  int64_t body_length = -1;
  bool chunked_body = false, head = false;
  // the answer
  enum State : uint8_t { kStatusLine, kHeaders } state = kStatusLine;
  void* chunks = nullptr;  // http::ChunkDecoder
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
