#include "engine/modules/pass.h"

#include <strings.h>

#include <charconv>

#include "engine/lifecycle.h"
#include "engine/runtime.h"

namespace moonphase::engine {

bool same_text(Str a, Str b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  return text;
}

bool take_schema(Upstream& u, Str* url, Str plain, Str secure, PassTarget* to) {
  const auto begins = [&](Str with) {
    return url->size() > with.size() && same_text(url->substr(0, with.size()), with);
  };
  u.ssl = begins(secure);
  if (!u.ssl && !begins(plain)) return false;
  const size_t n = u.ssl ? secure.size() : plain.size();
  to->schema = u.schema = url->substr(0, n);
  url->remove_prefix(n);
  return true;
}

bool parse_target(Request* r, Upstream& u, Str url, int usual_port, PassTarget* to) {
  auto fail = [&](const char* why) {
    MOONPHASE_LOG(r, kLogErr, 0, "%s in upstream \"%.*s\"", why, STR(url));
    return false;
  };
  Str rest = url;
  if (rest.size() > 5 && same_text(rest.substr(0, 5), "unix:")) {
    rest.remove_prefix(5);
    size_t colon = rest.find(':');
    u.host = r->pool->join({"unix:", rest.substr(0, colon)});
    to->uri = colon == Str::npos ? Str() : rest.substr(colon + 1);
    to->host_header = "localhost";
    to->port = "";
    return u.host.size() > 5 || fail("no path in the unix domain socket");
  }
  size_t end = rest.find_first_of("/?#");
  Str authority = rest.substr(0, end);
  to->uri = end == Str::npos ? Str() : rest.substr(end);
  if (to->uri.starts_with('?')) to->uri = r->pool->join({"/", to->uri});
  size_t bracket = authority.starts_with('[') ? authority.find(']') : 0;
  if (bracket == Str::npos) return fail("invalid host");
  size_t colon = authority.find(':', bracket);
  u.host = authority.substr(0, colon);
  u.port = usual_port;
  bool no_port = colon == Str::npos;
  if (!no_port) {
    Str text = authority.substr(colon + 1);
    auto [at, err] = std::from_chars(text.data(), text.data() + text.size(), u.port);
    if (err != std::errc() || at != text.data() + text.size() || u.port < 1 || u.port > 65535)
      return fail("invalid port");
  }
  if (u.host.empty()) return fail("no host");
  u.group = find_group(plan(r), u.host, u.port, no_port);
  to->host_header = no_port || u.port == usual_port ? u.host : authority;
  to->port = !no_port ? authority.substr(colon + 1) : usual_port == 443 ? Str("443") : Str("80");
  return true;
}

namespace {

void seal_headers(PassConf& conf, const PassDefaults& defaults) {
  for (const PassHeader& h : conf.set_headers) {
    std::string name = lower_case(h.name);
    if (name == "host") conf.sets_host = true;
    conf.replaced.add(std::move(name));
  }
  for (const char* const* name = defaults.replaced; *name; ++name) conf.replaced.add(*name);
  static constexpr const char* kHidden[] = {"date",
                                            "server",
                                            "x-accel-expires",
                                            "x-accel-redirect",
                                            "x-accel-limit-rate",
                                            "x-accel-buffering",
                                            "x-accel-charset"};
  http::NameSet& hidden = conf.upstream.hidden;
  for (const char* name : kHidden) hidden.add(name);
  for (const std::string& name : conf.hide_headers) hidden.add(lower_case(name));
  for (const std::string& name : conf.pass_headers) hidden.remove(lower_case(name));
}

bool seal_tls(const PassConf& conf, const std::string& kind, const std::string& place,
              std::string* error) {
  UpstreamTls* tls = conf.upstream.tls.get();
  if (!tls->certificate.empty() && tls->key.empty()) {
    *error = "no \"" + kind + "_ssl_certificate_key\" is defined for certificate \"" +
             tls->certificate.text + "\"" + place;
    return false;
  }
  if (tls->verify && tls->settings.trusted_certificate.empty()) {
    *error = "no " + kind + "_ssl_trusted_certificate for " + kind + "_ssl_verify" + place;
    return false;
  }
  tls->context = net::make_client_context(tls->settings, error);
  return tls->context != nullptr;
}

}  // namespace

bool seal_pass(Plan& plan, PassConf& conf, const PassDefaults& defaults, const Where& where,
               std::string* error) {
  if (!conf.replaced.empty()) return true;  // several locations share it
  seal_headers(conf, defaults);
  const std::string place = " in " + where.file + ":" + std::to_string(where.line);
  if ((conf.ssl || conf.dynamic) && !seal_tls(conf, defaults.kind, place, error)) return false;
  if (conf.dynamic) return true;
  const std::string host = conf.unix_socket ? "unix:" + conf.host : conf.host;
  const int port = conf.unix_socket ? 0 : conf.port;
  if (port == 0 && !conf.unix_socket) {
    conf.group = find_group(plan, host, 0, true);
    if (!conf.group) *error = "no port in upstream \"" + host + "\"" + place;
  } else {
    conf.group = group_for(plan, host, port, conf.no_port, where, error);
  }
  return conf.group != nullptr;
}

}  // namespace moonphase::engine
