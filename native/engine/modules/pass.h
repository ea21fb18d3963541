// What proxy_pass and grpc_pass have in common: where a request goes, and which of its headers and
// of the answer's are passed.
#pragma once

#include <string>
#include <vector>

#include "engine/upstream/upstream.h"

namespace moonphase::engine {

struct PassHeader {
  std::string name;
  Complex value;
};

struct PassConf {
  UpstreamConf upstream;
  // Where to: as parts, or `url` with variables.
  Complex url;
  bool dynamic = false, ssl = false;
  std::string schema, host;
  int port = 0;
  bool no_port = true, unix_socket = false;
  std::string port_text;
  UpstreamGroup* group = nullptr;  // made by seal_pass()

  std::vector<PassHeader> set_headers;  // as configured
  bool sets_host = false;               // `Host` is one of them
  http::NameSet replaced;  // lower-case names of the client's headers that are not passed
  std::vector<std::string> hide_headers, pass_headers;
};

// One request's.
struct PassTarget {
  Str schema, host_header, port, uri;
};

std::string lower_case(std::string text);
bool same_text(Str a, Str b);

// Sets u.ssl by the prefix of the URL, which is removed. `secure` is the longer one. False: it has
// none of both.
bool take_schema(Upstream& u, Str* url, Str plain, Str secure, PassTarget* to);
// "host:port/uri" behind the prefix; a `usual_port` of 0: there is none. False: logged.
bool parse_target(Request* r, Upstream& u, Str url, int usual_port, PassTarget* to);

// The headers that are never passed as they are, the group, TLS. `kind`: "proxy". False: `error` in
// nginx's words with its place.
struct PassDefaults {
  const char* kind;
  const char* const* replaced;  // headers that are the module's own; null ends the list
};
bool seal_pass(Plan& plan, PassConf& conf, const PassDefaults& defaults, const Where& where,
               std::string* error);

}  // namespace moonphase::engine
