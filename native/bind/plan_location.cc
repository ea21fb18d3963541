// One location configuration of a Plan.
#include "bind/plan_parts.h"

namespace moonphase::bind {

using engine::LocConf;
using http::CoreConf;

namespace {

void read_core(PlanParts& parts, const PlanValue& v, CoreConf& conf) {
  static constexpr std::pair<const char*, CoreConf::Kind> kKinds[] = {
      {"http", CoreConf::kHttp},     {"server", CoreConf::kServer},
      {"prefix", CoreConf::kPrefix}, {"exact", CoreConf::kExact},
      {"regex", CoreConf::kRegex},   {"named", CoreConf::kNamed},
      {"if", CoreConf::kIf},         {"limit_except", CoreConf::kLimitExcept},
  };
  static constexpr std::pair<const char*, CoreConf::InFileOnly> kInFile[] = {
      {"off", CoreConf::kFileOff}, {"on", CoreConf::kFileOn}, {"clean", CoreConf::kFileClean}};
  static constexpr std::pair<const char*, http::Alternative> kLingering[] = {
      {"off", http::Alternative::kOff},
      {"on", http::Alternative::kOn},
      {"always", http::Alternative::kAlways}};
  static constexpr std::pair<const char*, CoreConf::IfModified> kIfModified[] = {
      {"off", CoreConf::kImsOff}, {"exact", CoreConf::kImsExact}, {"before", CoreConf::kImsBefore}};
  static constexpr std::pair<const char*, CoreConf::Tokens> kTokens[] = {
      {"off", CoreConf::kTokensOff},
      {"on", CoreConf::kTokensOn},
      {"build", CoreConf::kTokensBuild}};

  PLAN_READ(conf, v, name);
  conf.kind = v.get("kind").word(kKinds);
  PLAN_READ(conf, v, noregex);
  PLAN_READ(conf, v, auto_redirect);
  PLAN_READ(conf, v, internal);
  conf.error_log = parts.log(v.get("error_log"));
  PLAN_READ(conf, v, root);
  PLAN_READ(conf, v, alias);
  PLAN_READ(conf, v, index);
  PLAN_READ(conf, v, default_type);
  v.get("types").each_key(
      [&](std::string extension, const PlanValue& type) { conf.types[extension] = type.bytes(); });
  PLAN_READ(conf, v, client_max_body_size);
  PLAN_READ(conf, v, client_body_buffer_size);
  PLAN_READ(conf, v, client_body_timeout);
  conf.client_body_in_file_only = v.get("client_body_in_file_only").word(kInFile);
  PLAN_READ(conf, v, client_body_in_single_buffer);
  PLAN_READ(conf, v, client_body_temp_path);
  PLAN_READ(conf, v, send_timeout);
  PLAN_READ(conf, v, keepalive_timeout);
  PLAN_READ(conf, v, keepalive_header);
  PLAN_READ(conf, v, keepalive_requests);
  PLAN_READ(conf, v, keepalive_time);
  PLAN_READ(conf, v, keepalive_disable);
  conf.lingering_close = v.get("lingering_close").word(kLingering);
  PLAN_READ(conf, v, lingering_time);
  PLAN_READ(conf, v, lingering_timeout);
  PLAN_READ(conf, v, reset_timedout_connection);
  PLAN_READ(conf, v, tcp_nodelay);
  PLAN_READ(conf, v, tcp_nopush);
  PLAN_READ(conf, v, sendfile);
  PLAN_READ(conf, v, sendfile_max_chunk);
  PLAN_READ(conf, v, http2_chunk_size);
  PLAN_READ(conf, v, postpone_output);
  PLAN_READ(conf, v, limit_rate);
  PLAN_READ(conf, v, limit_rate_after);
  PLAN_READ(conf, v, chunked_transfer_encoding);
  PLAN_READ(conf, v, etag);
  conf.if_modified_since = v.get("if_modified_since").word(kIfModified);
  PLAN_READ(conf, v, max_ranges);
  conf.server_tokens = v.get("server_tokens").word(kTokens);
  PLAN_READ(conf, v, server_name_in_redirect);
  PLAN_READ(conf, v, port_in_redirect);
  PLAN_READ(conf, v, absolute_redirect);
  conf.satisfy_any = v.get("satisfy").bytes() == "any";
  PLAN_READ(conf, v, recursive_error_pages);
  PLAN_READ(conf, v, log_not_found);
  PLAN_READ(conf, v, log_subrequest);
  PLAN_READ(conf, v, subrequest_output_buffer_size);
}

void read_headers(const PlanValue& v, CoreConf& conf) {
  using Expires = CoreConf::Expires;
  static constexpr std::pair<const char*, Expires::Kind> kExpires[] = {
      {"off", Expires::kOff},       {"epoch", Expires::kEpoch},       {"max", Expires::kMax},
      {"access", Expires::kAccess}, {"modified", Expires::kModified}, {"daily", Expires::kDaily},
  };
  auto rules = [](const PlanValue& from, std::vector<http::HeaderRule>& to) {
    from.each([&](const PlanValue& one) {
      http::HeaderRule& rule = to.emplace_back();
      PLAN_READ(rule, one, name);
      PLAN_READ(rule, one, value);
      PLAN_READ(rule, one, always);
    });
  };
  rules(v.get("add_header"), conf.add_header);
  rules(v.get("add_trailer"), conf.add_trailer);
  if (v.has("expires")) {
    PlanValue expires = v.get("expires");
    conf.expires.kind = expires.get("kind").word(kExpires);
    PLAN_READ(conf.expires, expires, time);
    PLAN_READ_OPTIONAL(conf.expires, expires, value);
  }
  v.get("error_page").each([&](const PlanValue& one) {
    http::ErrorPage& page = conf.error_page.emplace_back();
    PLAN_READ(page, one, codes);
    PLAN_READ(page, one, overwrite);
    PLAN_READ(page, one, target);
  });
}

void read_tree(PlanParts& parts, const PlanValue& v, engine::LocationTree& tree) {
  v.get("static").each([&](const PlanValue& one) {
    engine::LocationTree::Static& entry = tree.prefixes.emplace_back();
    PLAN_READ(entry, one, name);
    PLAN_READ(entry, one, exact);
    PLAN_READ(entry, one, noregex);
    entry.conf = parts.conf(one.get("conf"));
  });
  v.get("regex").each([&](const PlanValue& one) {
    tree.regex.emplace_back(parts.regex(one.get("regex")), parts.conf(one.get("conf")));
  });
  v.get("named").each([&](const PlanValue& one) {
    tree.named.emplace_back(one.get("name").bytes(), parts.conf(one.get("conf")));
  });
}

void read_access_log(PlanParts& parts, const PlanValue& from,
                     std::vector<engine::AccessLog>& logs) {
  from.each([&](const PlanValue& v) {
    engine::AccessLog& log = logs.emplace_back();
    PLAN_READ(log, v, path);
    log.format = parts.format(v.get("format"));
    log.has_condition = v.has("condition");
    PLAN_READ_OPTIONAL(log, v, condition);
    PLAN_READ_OPTIONAL(log, v, buffer);
    PLAN_READ_OPTIONAL(log, v, flush);
    if (v.has("syslog")) log.syslog = parts.syslog(v.get("syslog"));
  });
}

void read_files(const PlanValue& v, LocConf& conf) {
  if (v.has("try_files")) {
    PlanValue from = v.get("try_files");
    conf.try_files = std::make_unique<engine::TryFiles>();
    PLAN_READ(*conf.try_files, from, files);
    PLAN_READ_OPTIONAL(*conf.try_files, from, code);
    conf.try_files->has_target = from.has("target");
    PLAN_READ_OPTIONAL(*conf.try_files, from, target);
  }
  v.get("access").each([&](const PlanValue& one) {
    conf.access.emplace_back(one.get("allow").boolean(), one.get("cidr").bytes());
  });
  conf.has_auth_basic = v.has("auth_basic") && v.has("auth_basic_user_file");
  PLAN_READ_OPTIONAL(conf, v, auth_basic);
  PLAN_READ_OPTIONAL(conf, v, auth_basic_user_file);
}

void read_lua(PlanParts& parts, const PlanValue& v, engine::LuaLocConf& lua) {
  lua.rewrite = parts.handler(v, "rewrite_by_lua");
  lua.access = parts.handler(v, "access_by_lua");
  lua.precontent = parts.handler(v, "precontent_by_lua");
  lua.content = parts.handler(v, "content_by_lua");
  lua.header_filter = parts.handler(v, "header_filter_by_lua");
  lua.body_filter = parts.handler(v, "body_filter_by_lua");
  lua.log = parts.handler(v, "log_by_lua");
  lua.proxy_ssl_certificate = parts.handler(v, "proxy_ssl_certificate_by_lua");
  lua.proxy_ssl_verify = parts.handler(v, "proxy_ssl_verify_by_lua");
  read(v.get("lua_upstream_skip_openssl_default_verify"), lua.upstream_skip_default_verify);
  read(v.get("lua_code_cache"), lua.code_cache);
  read(v.get("lua_need_request_body"), lua.need_request_body);
  read(v.get("lua_http10_buffering"), lua.http10_buffering);
  read(v.get("lua_use_default_type"), lua.use_default_type);
  read(v.get("lua_check_client_abort"), lua.check_client_abort);
  read(v.get("lua_transform_underscores_in_response_headers"), lua.transform_underscores);
  read(v.get("lua_socket_log_errors"), lua.socket_log_errors);
  read(v.get("lua_socket_connect_timeout"), lua.socket_connect_timeout);
  read(v.get("lua_socket_send_timeout"), lua.socket_send_timeout);
  read(v.get("lua_socket_read_timeout"), lua.socket_read_timeout);
  read(v.get("lua_socket_keepalive_timeout"), lua.socket_keepalive_timeout);
  read(v.get("lua_socket_send_lowat"), lua.socket_send_lowat);
  read(v.get("lua_socket_buffer_size"), lua.socket_buffer_size);
  read(v.get("lua_socket_pool_size"), lua.socket_pool_size);
}

}  // namespace

std::unique_ptr<engine::ResolverPlan> read_resolver(const PlanValue& from) {
  auto resolver = std::make_unique<engine::ResolverPlan>();
  from.get("servers").each([&](const PlanValue& one) {
    resolver->servers.emplace_back(one.get("address").bytes(),
                                   static_cast<int>(one.get("port").integer()));
  });
  PLAN_READ_OPTIONAL(*resolver, from, valid);
  PLAN_READ(*resolver, from, ipv4);
  PLAN_READ(*resolver, from, ipv6);
  PLAN_READ(*resolver, from, local);
  return resolver;
}

void read_location(PlanParts& parts, const PlanValue& v, LocConf& conf) {
  using engine::ContentKind;
  static constexpr std::pair<const char*, ContentKind> kContent[] = {
      {"lua", ContentKind::kLua},
      {"proxy", ContentKind::kProxy},
      {"echo", ContentKind::kEcho},
      {"memc", ContentKind::kMemc},
      {"grpc", ContentKind::kGrpc},
      {"empty_gif", ContentKind::kEmptyGif},
      {"stub_status", ContentKind::kStubStatus},
  };
  read_core(parts, v, conf);
  read_headers(v, conf);
  PLAN_READ(conf, v, where);
  PLAN_READ(conf, v, alias_length);
  if (v.has("locations")) read_tree(parts, v.get("locations"), conf.locations);
  if (v.has("limit_except")) {
    read(v.get("limit_except").get("methods"), conf.limit_except_methods);
    conf.limit_except = parts.conf(v.get("limit_except").get("conf"));
  }
  conf.rewrite_ops = parts.rewrite(v.get("rewrite"));
  PLAN_READ(conf, v, rewrite_log);
  PLAN_READ(conf, v, uninitialized_variable_warn);
  PLAN_READ(conf, v, msie_padding);
  read_access_log(parts, v.get("access_log"), conf.access_log);
  read_files(v, conf);
  PLAN_READ(conf, v, resolver_timeout);
  if (v.has("resolver")) conf.resolver = read_resolver(v.get("resolver"));
  if (v.has("content")) conf.content = v.get("content").get("kind").word(kContent);
  read_lua(parts, v, conf.lua);
  read_client_tls(parts, v, conf);
  read_proxy(parts, v, conf);
  read_filters(parts, v, conf);
  read_memc(v, conf);
  read_grpc(v, conf);
  read(v.get("set_base32_padding"), conf.set_misc.base32_padding);
  read(v.get("set_base32_alphabet"), conf.set_misc.base32_alphabet);
  read_modules(parts, v, conf);
}

}  // namespace moonphase::bind
