// The parts of a Plan that are not locations: process, http, servers, listens, upstreams,
// variables.
#include "bind/plan_reader.h"

#include <algorithm>

#include "bind/napi_util.h"
#include "bind/plan_parts.h"
#include "bind/syslog.h"
#include "engine/log_sinks.h"

namespace moonphase::bind {

using engine::Plan;

namespace {

void read_syslogs(Plan& plan, const PlanValue& from) {
  from.each([&](const PlanValue& v) {
    plan.syslogs.push_back(std::make_unique<Syslog>(read_syslog(v), &plan.error_log));
  });
}

void read_logs(PlanParts& parts, const PlanValue& from) {
  from.each([&](const PlanValue& v) {
    if (v.has("syslog")) {
      parts.plan.sinks.push_back(engine::syslog_sink(parts.syslog(v.get("syslog"))));
      return;
    }
    std::string error;
    auto sink = engine::open_sink(v.get("kind").bytes(), v.get("path").bytes(), &error);
    if (!sink) throw PlanError{error};
    parts.plan.sinks.push_back(std::move(sink));
  });
}

void read_process(PlanParts& parts, const PlanValue& v) {
  Plan& plan = parts.plan;
  PLAN_READ(plan, v, daemon);
  PLAN_READ(plan, v, master_process);
  PLAN_READ(plan, v, worker_processes);
  PLAN_READ(plan, v, worker_connections);
  PLAN_READ_OPTIONAL(plan, v, worker_shutdown_timeout);
  PLAN_READ(plan, v, pid);
  if (v.has("user")) {
    PlanValue user = v.get("user");
    read(user.get("name"), plan.user);
    if (user.has("group")) read(user.get("group"), plan.group);
  }
  v.get("env").each([&](const PlanValue& one) {
    engine::EnvVar& env = plan.env.emplace_back();
    PLAN_READ(env, one, name);
    env.has_value = one.has("value");
    PLAN_READ_OPTIONAL(env, one, value);
  });
  v.get("thread_pools").each([&](const PlanValue& one) {
    engine::ThreadPoolPlan& pool = plan.thread_pools.emplace_back();
    PLAN_READ(pool, one, name);
    PLAN_READ(pool, one, threads);
    PLAN_READ(pool, one, max_queue);
  });
  plan.error_log = parts.log(v.get("error_log"));
}

// --- variables ---

std::unique_ptr<engine::MapPlan> read_map(PlanParts& parts, const PlanValue& v) {
  auto map = std::make_unique<engine::MapPlan>();
  PLAN_READ(*map, v, source);
  PLAN_READ(*map, v, hostnames);
  read(v.get("volatile"), map->is_volatile);
  read(v.get("default"), map->fallback);
  v.get("exact").each(
      [&](const PlanValue& pair) { read(pair.at(1), map->exact[pair.at(0).bytes()]); });
  v.get("masks").each([&](const PlanValue& pair) {
    auto& [mask, value] = map->masks.emplace_back();
    read(pair.at(0), mask);
    read(pair.at(1), value);
  });
  v.get("regex").each([&](const PlanValue& pair) {
    auto& [regex, value] = map->regex.emplace_back();
    regex = parts.regex(pair.at(0));
    read(pair.at(1), value);
  });
  return map;
}

std::unique_ptr<engine::GeoPlan> read_geo(const PlanValue& v) {
  auto geo = std::make_unique<engine::GeoPlan>();
  PLAN_READ(*geo, v, source);
  read(v.get("default"), geo->fallback);
  v.get("proxies").each([&](const PlanValue& one) {
    if (!engine::make_rule(true, one.bytes(), &geo->proxies.emplace_back())) one.fail("a network");
  });
  PLAN_READ(*geo, v, proxy_recursive);
  v.get("ranges").each([&](const PlanValue& one) {
    auto& [cidr, value] = geo->ranges.emplace_back();
    read(one.get("cidr"), cidr);
    read(one.get("value"), value);
  });
  return geo;
}

std::unique_ptr<engine::SplitPlan> read_split(const PlanValue& v) {
  auto split = std::make_unique<engine::SplitPlan>();
  PLAN_READ(*split, v, source);
  v.get("parts").each([&](const PlanValue& one) {
    auto& [upto, value] = split->parts.emplace_back();
    read(one.get("upto"), upto);
    read(one.get("value"), value);
  });
  return split;
}

void read_variables(PlanParts& parts, const PlanValue& from) {
  using Slot = engine::VariableSlot;
  static constexpr std::pair<const char*, Slot::Kind> kKinds[] = {
      {"builtin", Slot::kBuiltin},
      {"set", Slot::kSet},
      {"capture", Slot::kCapture},
      {"map", Slot::kMap},
      {"geo", Slot::kGeo},
      {"js", Slot::kJs},
      {"split_clients", Slot::kSplit},
  };
  from.each([&](const PlanValue& v) {
    Slot slot;
    PLAN_READ(slot, v, name);
    slot.kind = v.get("kind").word(kKinds);
    if (slot.kind == Slot::kMap) slot.map = read_map(parts, v.get("map"));
    if (slot.kind == Slot::kGeo) slot.geo = read_geo(v.get("geo"));
    if (slot.kind == Slot::kSplit) slot.split = read_split(v.get("split"));
    parts.plan.variables.push_back(std::move(slot));
  });
}

// --- http ---

void read_lua(PlanParts& parts, const PlanValue& v) {
  engine::LuaMainConf& lua = parts.plan.lua;
  read(v.get("lua_package_path"), lua.package_path);
  read(v.get("lua_package_cpath"), lua.package_cpath);
  lua.init = parts.handler(v, "init_by_lua");
  lua.init_worker = parts.handler(v, "init_worker_by_lua");
  lua.exit_worker = parts.handler(v, "exit_worker_by_lua");
  v.get("shared_dicts").each([&](const PlanValue& one) {
    engine::SharedDictPlan& dict = lua.shared_dicts.emplace_back();
    PLAN_READ(dict, one, name);
    PLAN_READ(dict, one, size);
    PLAN_READ(dict, one, exact);
    PLAN_READ(dict, one, any);
  });
  read(v.get("lua_regex_cache_max_entries"), lua.regex_cache_max_entries);
  read(v.get("lua_regex_match_limit"), lua.regex_match_limit);
  read(v.get("lua_max_pending_timers"), lua.max_pending_timers);
  read(v.get("lua_max_running_timers"), lua.max_running_timers);
  read(v.get("lua_thread_cache_max_entries"), lua.thread_cache_max_entries);
  read(v.get("lua_worker_thread_vm_pool_size"), lua.worker_thread_vm_pool_size);
  if (v.has("lua_capture_error_log")) read(v.get("lua_capture_error_log"), lua.capture_error_log);
  read(v.get("lua_malloc_trim"), lua.malloc_trim);
  read(v.get("lua_load_resty_core"), lua.load_resty_core);
  read(v.get("rewrite_by_lua_no_postpone"), lua.rewrite_no_postpone);
  read(v.get("access_by_lua_no_postpone"), lua.access_no_postpone);
  read(v.get("precontent_by_lua_no_postpone"), lua.precontent_no_postpone);
  lua.extended_capabilities = v.get("lua_phase_capabilities").bytes() == "extended";
  read(v.get("lua_blocking_threshold"), lua.blocking_threshold);
}

void read_formats(PlanParts& parts, const PlanValue& from) {
  using Format = engine::LogFormat;
  static constexpr std::pair<const char*, Format::Escape> kEscapes[] = {
      {"default", Format::kDefault}, {"json", Format::kJson}, {"none", Format::kNone}};
  from.each([&](const PlanValue& v) {
    auto format = std::make_unique<Format>();
    PLAN_READ(*format, v, name);
    PLAN_READ(*format, v, value);
    format->escape = v.get("escape").word(kEscapes);
    parts.plan.formats.push_back(std::move(format));
  });
}

void read_server(PlanParts& parts, const PlanValue& v, engine::ServerConf& server) {
  using Name = http::ServerName;
  static constexpr std::pair<const char*, Name::Kind> kNames[] = {{"exact", Name::kExact},
                                                                  {"head", Name::kHead},
                                                                  {"tail", Name::kTail},
                                                                  {"regex", Name::kRegex}};
  v.get("names").each([&](const PlanValue& one) {
    Name& name = server.names.emplace_back();
    read(one.get("name"), name.name);
    name.kind = one.get("kind").word(kNames);
    if (name.kind == Name::kRegex) {
      read(one.get("regex").get("pattern"), name.pattern);
      read(one.get("regex").get("caseless"), name.caseless);
    }
  });
  PLAN_READ(server, v, client_header_buffer_size);
  PlanValue large = v.get("large_client_header_buffers");
  read(large.get("number"), server.large_buffers_number);
  read(large.get("size"), server.large_buffers_size);
  PLAN_READ(server, v, client_header_timeout);
  PLAN_READ(server, v, ignore_invalid_headers);
  PLAN_READ(server, v, underscores_in_headers);
  PLAN_READ(server, v, merge_slashes);
  PLAN_READ(server, v, max_headers);
  PLAN_READ(server, v, http2);
  PLAN_READ(server, v, http2_max_concurrent_streams);
  PLAN_READ(server, v, http2_body_preread_size);
  PLAN_READ(server, v, http2_recv_buffer_size);
  server.conf = parts.conf(v.get("conf"));
  read(v.get("where"), server.where);
  server.rewrite_ops = parts.rewrite(v.get("rewrite"));
  server.server_rewrite = parts.handler(v, "server_rewrite_by_lua");
  read_server_tls(parts, v, server);
}

void read_listens(PlanParts& parts, const PlanValue& from) {
  using Listen = http::ListenConf;
  static constexpr std::pair<const char*, Listen::Family> kFamilies[] = {
      {"inet", Listen::kInet}, {"inet6", Listen::kInet6}, {"unix", Listen::kUnix}};
  from.each([&](const PlanValue& v) {
    auto listen = std::make_unique<Listen>();
    PLAN_READ(*listen, v, name);
    PLAN_READ(*listen, v, host);
    listen->family = v.get("family").word(kFamilies);
    PLAN_READ(*listen, v, port);
    PLAN_READ(*listen, v, backlog);
    PLAN_READ(*listen, v, bind);
    PLAN_READ(*listen, v, wildcard);
    PLAN_READ(*listen, v, reuseport);
    PLAN_READ(*listen, v, ipv6only);
    PLAN_READ(*listen, v, deferred);
    PLAN_READ(*listen, v, ssl);
    PLAN_READ(*listen, v, http2);
    PLAN_READ(*listen, v, proxy_protocol);
    PLAN_READ(*listen, v, rcvbuf);
    PLAN_READ(*listen, v, sndbuf);
    PLAN_READ_OPTIONAL(*listen, v, fastopen);
    if (v.has("so_keepalive")) listen->so_keepalive = v.get("so_keepalive").boolean() ? 1 : 0;
    v.get("servers").each(
        [&](const PlanValue& index) { listen->servers.push_back(parts.server(index)); });
    listen->default_server = parts.server(v.get("defaultServer"));
    parts.plan.listens.push_back(std::move(listen));
  });
}

void read_upstreams(PlanParts& parts, const PlanValue& from) {
  using Method = engine::UpstreamMethod;
  static constexpr std::pair<const char*, Method> kMethods[] = {
      {"round_robin", Method::kRoundRobin},
      {"least_conn", Method::kLeastConn},
      {"ip_hash", Method::kIpHash},
      {"hash", Method::kHash},
      {"random", Method::kRandom}};
  from.each([&](const PlanValue& v) {
    auto up = std::make_unique<engine::UpstreamPlan>();
    PLAN_READ(*up, v, name);
    PLAN_READ(*up, v, where);
    up->method = v.get("method").word(kMethods);
    PLAN_READ_OPTIONAL(*up, v, hash_key);
    PLAN_READ_OPTIONAL(*up, v, hash_consistent);
    PLAN_READ_OPTIONAL(*up, v, random_two);
    PLAN_READ_OPTIONAL(*up, v, zone);
    PLAN_READ_OPTIONAL(*up, v, placeholder);
    PLAN_READ_OPTIONAL(*up, v, balancer_keepalive);
    PLAN_READ_OPTIONAL(*up, v, resolver_timeout);
    if (v.has("resolver")) up->resolver = read_resolver(v.get("resolver"));
    PLAN_READ(*up, v, keepalive);
    PLAN_READ(*up, v, keepalive_local);
    PLAN_READ(*up, v, keepalive_requests);
    PLAN_READ(*up, v, keepalive_time);
    PLAN_READ(*up, v, keepalive_timeout);
    up->balancer = parts.handler(v, "balancer_by_lua");
    v.get("servers").each([&](const PlanValue& one) {
      engine::UpstreamServerPlan& server = up->servers.emplace_back();
      PLAN_READ(server, one, address);
      PLAN_READ(server, one, name);
      PLAN_READ(server, one, weight);
      PLAN_READ(server, one, max_fails);
      PLAN_READ(server, one, max_conns);
      PLAN_READ(server, one, fail_timeout);
      PLAN_READ(server, one, backup);
      PLAN_READ(server, one, down);
      PLAN_READ(server, one, resolve);
    });
    parts.plan.upstreams.push_back(std::move(up));
  });
}

template <class T>
void make(std::vector<std::unique_ptr<T>>& list, const PlanValue& from) {
  from.each([&](const PlanValue&) { list.push_back(std::make_unique<T>()); });
}

void read_http(PlanParts& parts, const PlanValue& v) {
  Plan& plan = parts.plan;
  plan.has_http = true;
  // These point to each other, so all of them are there before the first is read.
  make(plan.confs, v.get("confs"));
  make(plan.servers, v.get("servers"));
  read_formats(parts, v.get("formats"));
  read_limit_zones(parts, v.get("limit_zones"));
  read_caches(parts, v.get("caches"));
  v.get("session_zones").each([&](const PlanValue& one) {
    auto zone = std::make_unique<engine::TlsSessionZone>();
    PLAN_READ(*zone, one, name);
    PLAN_READ(*zone, one, size);
    plan.tls_session_zones.push_back(std::move(zone));
  });
  read_lua(parts, v.get("lua"));
  size_t i = 0;
  v.get("confs").each([&](const PlanValue& one) { read_location(parts, one, *plan.confs[i++]); });
  i = 0;
  v.get("servers").each([&](const PlanValue& one) { read_server(parts, one, *plan.servers[i++]); });
  read_listens(parts, v.get("listens"));
  read_upstreams(parts, v.get("upstreams"));
  v.get("upstream_zones").each([&](const PlanValue& one) {
    engine::UpstreamZonePlan& zone = plan.upstream_zones.emplace_back();
    PLAN_READ(zone, one, name);
    PLAN_READ(zone, one, size);
    PLAN_READ(zone, one, where);
  });
  if (v.has("dynamic_zone")) read(v.get("dynamic_zone"), plan.dynamic_zone);
  v.get("upstream_lists").each([&](const PlanValue& list) {
    auto& names =
        plan.upstream_lists.emplace_back(list.get("name").bytes(), std::vector<std::string>())
            .second;
    list.get("upstreams").each([&](const PlanValue& one) { names.push_back(one.bytes()); });
  });
  plan.main_conf = parts.conf(v.get("mainConf"));
}

// regexError(pattern, caseless): what PCRE2 says against it, or undefined.
napi_value regex_error(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  bool caseless = false;
  if (args.count > 1) napi_get_value_bool(env, args[1], &caseless);
  std::string error;
  if (engine::Regex::compile(bytes_of(env, args[0]), caseless, &error)) return nullptr;
  return js_latin1(env, error);
}

}  // namespace

void define_plan_reader(napi_env env, napi_value exports) {
  add_function(env, exports, "regexError", regex_error);
}

std::unique_ptr<Plan> read_plan(napi_env env, napi_value value, std::string* error) {
  auto plan = std::make_unique<Plan>();
  try {
    PlanValue v(env, value);
    if (v.get("version").integer() != 1) v.get("version").fail("1");
    read(v.get("prefix"), plan->prefix);
    read(v.get("confPrefix"), plan->conf_prefix);
    read(v.get("confFile"), plan->conf_file);
    PlanParts parts(*plan);
    read_syslogs(*plan, v.get("syslogs"));
    read_logs(parts, v.get("logs"));
    read_process(parts, v.get("process"));
    read_variables(parts, v.get("variables"));
    if (v.has("http")) read_http(parts, v.get("http"));
  } catch (const PlanError& wrong) {
    *error = wrong.message;
    return nullptr;
  }
  return plan;
}

}  // namespace moonphase::bind
