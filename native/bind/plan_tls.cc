// The ssl_* directives of servers and the lua_ssl_* ones of locations.
#include <algorithm>

#include "bind/plan_parts.h"

namespace moonphase::bind {

namespace {

using Commands = std::vector<std::pair<std::string, std::string>>;

void read_commands(const PlanValue& v, Commands& to) {
  v.each([&](const PlanValue& pair) {
    auto& [name, value] = to.emplace_back();
    read(pair.at(0), name);
    read(pair.at(1), value);
  });
}

// All values in one text: what has the same is the same.
std::string key_of(const net::TlsClientSettings& s) {
  std::string key;
  auto add = [&](const std::string& text) { (key += text) += '\0'; };
  for (const auto* list : {&s.protocols, &s.certificates, &s.keys}) {
    for (const std::string& one : *list) add(one);
    key += '\1';
  }
  for (const auto* text : {&s.ciphers, &s.trusted_certificate, &s.crl, &s.key_log}) add(*text);
  for (const auto& [name, value] : s.conf_commands) {
    add(name);
    add(value);
  }
  return key + std::to_string(s.verify_depth);
}

// One with variables makes all of them wait for the handshake.
void read_certificates(const PlanValue& from, engine::ServerConf& server) {
  std::vector<engine::Complex> certificates, keys;
  auto collect = [](std::vector<engine::Complex>& list) {
    return [&list](const PlanValue& one) { read(one, list.emplace_back()); };
  };
  from.get("ssl_certificate").each(collect(certificates));
  from.get("ssl_certificate_key").each(collect(keys));
  net::TlsServerSettings& s = *server.tls;
  auto literal = [](const engine::Complex& c) { return c.literal(); };
  s.by_name = !std::all_of(certificates.begin(), certificates.end(), literal) ||
              !std::all_of(keys.begin(), keys.end(), literal);
  for (size_t i = 0; i < certificates.size(); ++i) {
    if (s.by_name) {
      server.certificates_by_name.emplace_back(certificates[i],
                                               i < keys.size() ? keys[i] : engine::Complex{});
    } else {
      s.certificates.push_back(certificates[i].text);
      if (i < keys.size()) s.keys.push_back(keys[i].text);
    }
  }
}

}  // namespace

void read_client_tls(PlanParts& parts, const PlanValue& v, engine::LocConf& conf) {
  PlanValue from = v.get("lua_ssl");
  net::TlsClientSettings s;
  read(from.get("lua_ssl_protocols"), s.protocols);
  read(from.get("lua_ssl_ciphers"), s.ciphers);
  read(from.get("lua_ssl_verify_depth"), s.verify_depth);
  read(from.get("lua_ssl_certificate"), s.certificates);
  read(from.get("lua_ssl_certificate_key"), s.keys);
  read(from.get("lua_ssl_trusted_certificate"), s.trusted_certificate);
  read(from.get("lua_ssl_crl"), s.crl);
  read(from.get("lua_ssl_key_log"), s.key_log);
  read_commands(from.get("lua_ssl_conf_command"), s.conf_commands);
  auto& known = parts.client_tls[key_of(s)];
  if (!known) {
    auto made = std::make_shared<engine::LuaTlsConf>();
    made->settings = std::move(s);
    known = std::move(made);
  }
  conf.lua.tls = known;
}

std::shared_ptr<engine::UpstreamTls> read_upstream_tls(const PassValues& v) {
  auto tls = std::make_shared<engine::UpstreamTls>();
  net::TlsClientSettings& s = tls->settings;
  read(v.get("ssl_protocols"), s.protocols);
  read(v.get("ssl_ciphers"), s.ciphers);
  read(v.get("ssl_verify_depth"), s.verify_depth);
  read(v.get("ssl_trusted_certificate"), s.trusted_certificate);
  read(v.get("ssl_crl"), s.crl);
  if (v.has("ssl_password_file")) read(v.get("ssl_password_file"), s.password_file);
  if (v.has("ssl_certificate")) read(v.get("ssl_certificate"), tls->certificate);
  if (v.has("ssl_certificate_key")) read(v.get("ssl_certificate_key"), tls->key);
  tls->by_name = !tls->certificate.literal() || !tls->key.literal();
  if (!tls->by_name && !tls->certificate.empty()) {
    s.certificates.push_back(tls->certificate.text);
    if (!tls->key.empty()) s.keys.push_back(tls->key.text);
  }
  read_commands(v.get("ssl_conf_command"), s.conf_commands);
  read(v.get("ssl_session_reuse"), tls->session_reuse);
  read(v.get("ssl_server_name"), tls->server_name);
  read(v.get("ssl_verify"), tls->verify);
  tls->has_name = v.has("ssl_name");
  if (tls->has_name) read(v.get("ssl_name"), tls->name);
  return tls;
}

void read_server_tls(PlanParts& parts, const PlanValue& v, engine::ServerConf& server) {
  using Settings = net::TlsServerSettings;
  static constexpr std::pair<const char*, Settings::Verify> kVerify[] = {
      {"off", Settings::kOff},
      {"on", Settings::kOn},
      {"optional", Settings::kOptional},
      {"optional_no_ca", Settings::kOptionalNoCa},
  };
  server.ssl_client_hello = parts.handler(v, "ssl_client_hello_by_lua");
  server.ssl_certificate = parts.handler(v, "ssl_certificate_by_lua");
  server.ssl_session_store = parts.handler(v, "ssl_session_store_by_lua");
  server.ssl_session_fetch = parts.handler(v, "ssl_session_fetch_by_lua");
  if (!v.has("ssl")) return;
  PlanValue from = v.get("ssl");
  server.tls = std::make_unique<Settings>();
  Settings& s = *server.tls;
  read_certificates(from, server);
  if (from.has("ssl_password_file")) read(from.get("ssl_password_file"), s.password_file);
  if (from.has("ssl_dhparam")) read(from.get("ssl_dhparam"), s.dhparam);
  read(from.get("ssl_ecdh_curve"), s.ecdh_curve);
  read(from.get("ssl_protocols"), s.protocols);
  read(from.get("ssl_ciphers"), s.ciphers);
  read(from.get("ssl_buffer_size"), s.buffer_size);
  s.verify = from.get("ssl_verify_client").word(kVerify);
  read(from.get("ssl_verify_depth"), s.verify_depth);
  read(from.get("ssl_client_certificate"), s.client_certificate);
  read(from.get("ssl_trusted_certificate"), s.trusted_certificate);
  read(from.get("ssl_prefer_server_ciphers"), s.prefer_server_ciphers);
  read(from.get("ssl_session_cache"), s.session_cache);
  for (const std::string& word : s.session_cache)
    for (const auto& zone : parts.plan.tls_session_zones)
      if (word.starts_with("shared:" + zone->name + ":")) server.tls_sessions = zone.get();
  read(from.get("ssl_session_tickets"), s.session_tickets);
  read(from.get("ssl_session_ticket_key"), s.ticket_keys);
  s.session_timeout = from.get("ssl_session_timeout").integer() / 1000;
  read(from.get("ssl_crl"), s.crl);
  read(from.get("ssl_early_data"), s.early_data);
  read(from.get("ssl_stapling"), s.stapling);
  read(from.get("ssl_stapling_file"), s.stapling_file);
  read(from.get("ssl_stapling_responder"), s.stapling_responder);
  read(from.get("ssl_stapling_verify"), s.stapling_verify);
  read_commands(from.get("ssl_conf_command"), s.conf_commands);
  read(from.get("ssl_reject_handshake"), s.reject_handshake);
}

}  // namespace moonphase::bind
