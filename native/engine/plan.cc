// What remains to be done when a Plan has been read: search tables, links between its parts.
#include "engine/plan.h"

#include <arpa/inet.h>

#include <algorithm>

#include "engine/access_log.h"
#include "engine/locations.h"
#include "engine/map.h"
#include "engine/modules/charset.h"
#include "engine/modules/grpc.h"
#include "engine/modules/limits.h"
#include "engine/modules/memc.h"
#include "engine/modules/proxy.h"
#include "engine/phases.h"
#include "engine/variables/names.h"
#include "engine/variables/variables.h"
#include "http/request.h"
#include "http/uri.h"

namespace moonphase::engine {

Plan::Plan() = default;
Plan::~Plan() { forget_names(); }

int Plan::variable(Str lower_name) const {
  auto it = variable_index_.find(lower_name);
  return it == variable_index_.end() ? -1 : it->second;
}

namespace {

uint32_t method_bit(Str name) {
  static constexpr std::pair<Str, uint32_t> kMethods[] = {{"GET", http::kGet | http::kHead},
                                                          {"HEAD", http::kHead},
                                                          {"POST", http::kPost},
                                                          {"PUT", http::kPut},
                                                          {"DELETE", http::kDelete},
                                                          {"MKCOL", http::kMkcol},
                                                          {"COPY", http::kCopy},
                                                          {"MOVE", http::kMove},
                                                          {"OPTIONS", http::kOptions},
                                                          {"PROPFIND", http::kPropfind},
                                                          {"PROPPATCH", http::kProppatch},
                                                          {"LOCK", http::kLock},
                                                          {"UNLOCK", http::kUnlock},
                                                          {"PATCH", http::kPatch}};
  for (const auto& [method, bit] : kMethods)
    if (std::equal(name.begin(), name.end(), method.begin(), method.end(),
                   [](char a, char b) { return (a >= 'a' && a <= 'z' ? a - 32 : a) == b; }))
      return bit;
  return 0;
}

class Sealer {
 public:
  Sealer(Plan& plan, std::string* error) : plan_(plan), error_(error) {}

  bool run() {
    for (const auto& conf : plan_.confs) link_blocks(conf.get(), conf->rewrite_ops);
    note_lua_phases();
    for (const auto& server : plan_.servers) {
      walk(server->rewrite_ops);
      if (!compile_names(*server)) return false;
    }
    for (const auto& conf : plan_.confs)
      if (!location(*conf)) return false;
    note_hosted();
    return variables();
  }

 private:
  void note_hosted() {
    http::ListenConf& hosted = plan_.hosted;
    hosted.name = "hosted";
    for (const auto& server : plan_.servers) hosted.servers.push_back(server.get());
    if (!hosted.servers.empty()) hosted.default_server = hosted.servers[0];
    std::string usual = plan_.prefix;
    if (!usual.ends_with('/')) usual += '/';
    usual += "html";
    for (const auto& conf : plan_.confs)
      conf->serves_files =
          conf->alias || conf->try_files || !conf->root.literal() || conf->root.text != usual;
  }

  void note_lua_phases() {
    LuaMainConf& lua = plan_.lua;
    lua.log_used = lua.malloc_trim > 0 && lua.malloc_trim != LuaMainConf().malloc_trim;
    for (const auto& server : plan_.servers)
      if (server->server_rewrite) lua.capture_used = true;
    for (const auto& conf : plan_.confs) {
      const LuaLocConf& c = conf->lua;
      if (c.rewrite || c.access || c.precontent || c.content) lua.capture_used = true;
      if (c.header_filter || c.body_filter) lua.header_filter_used = true;
      if (c.body_filter) lua.body_filter_used = true;
      if (c.log) lua.log_used = true;
    }
  }

  bool fail(const std::string& message, const Where& where) {
    *error_ = message;
    if (!where.file.empty()) *error_ += " in " + where.file + ":" + std::to_string(where.line);
    return false;
  }

  void regex(Regex* re) {
    if (!re) return;
    plan_.max_captures = std::max(plan_.max_captures, 2 * (re->group_count() + 1));
    for (Regex::Named& named : re->named) {
      std::string lower = named.name;
      for (char& c : lower)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
      named.variable = plan_.variable(lower);
      if (named.variable < 0) continue;
      VariableSlot& slot = plan_.variables[static_cast<size_t>(named.variable)];
      if (slot.kind == VariableSlot::kSet) slot.kind = VariableSlot::kCapture;
    }
  }

  void assigned(int variable) {
    if (variable >= 0) plan_.variables[static_cast<size_t>(variable)].assigned = true;
  }

  void walk(RewriteProgram& program) {
    for (RewriteOp& op : program) {
      if (op.kind == RewriteOp::kSet || op.kind == RewriteOp::kSetByLua ||
          op.kind == RewriteOp::kSetFilter)
        assigned(op.var);
      regex(op.regex.get());
      regex(op.cond.regex.get());
      walk(op.then);
    }
  }

  // `if` and limit_except blocks learn whose they are.
  void link_blocks(LocConf* conf, RewriteProgram& program) {
    for (RewriteOp& op : program) {
      if (op.conf) op.conf->parent = conf;
      link_blocks(conf, op.then);
    }
    if (conf->limit_except) conf->limit_except->parent = conf;
  }

  bool location(LocConf& conf) {
    for (const auto& [re, inner] : conf.locations.regex) {
      regex(re.get());
      (void)inner;
    }
    seal_locations(conf.locations);
    walk(conf.rewrite_ops);
    if (auto* proxy = static_cast<ProxyConf*>(conf.module[kModProxy].get())) {
      for (const auto* rules : {&proxy->redirects, &proxy->cookie_domains, &proxy->cookie_paths})
        for (const ProxyRedirect& rule : *rules) regex(rule.regex.get());
      for (const ProxyCookieFlags& rule : proxy->cookie_flags) regex(rule.regex.get());
    }
    if (auto* auth = static_cast<AuthRequestConf*>(conf.module[kModAuthRequest].get()))
      for (const auto& [variable, value] : auth->set) assigned(variable);
    conf.escaped_name = http::escape(plan_.arena, conf.name, http::Escape::kUri);

    if (conf.limit_except) {
      conf.limit_except_mask = 0xffffffff;
      for (const std::string& method : conf.limit_except_methods)
        conf.limit_except_mask &= ~method_bit(method);
    }
    for (const auto& [allow, text] : conf.access) {
      AddressRule rule;
      if (!make_rule(allow, text, &rule))
        return fail("invalid parameter \"" + text + "\"", conf.where);
      conf.access_rules.push_back(rule);
    }
    if (conf.content == ContentKind::kNone && conf.lua.content) conf.content = ContentKind::kLua;
    if (conf.content != ContentKind::kNone && !content_handler(conf.content))
      return fail("a content handler of this location is not there yet", conf.where);
    seal_filters(plan_, conf);
    return true;
  }

  bool compile_names(ServerConf& server) {
    server.name_regex.resize(server.names.size());
    for (size_t i = 0; i < server.names.size(); ++i) {
      const http::ServerName& name = server.names[i];
      if (name.kind != http::ServerName::kRegex) continue;
      std::string error;
      server.name_regex[i] = Regex::compile(name.pattern, name.caseless, &error);
      if (!server.name_regex[i]) return fail(error, server.where);
      regex(server.name_regex[i].get());
    }
    return true;
  }

  bool variables() {
    for (VariableSlot& slot : plan_.variables) {
      std::string error;
      switch (slot.kind) {
        case VariableSlot::kBuiltin:
          slot.def = find_variable(slot.name);
          if (!slot.def) return fail("unknown \"" + slot.name + "\" variable", {});
          if (slot.def->flags & kVarPrefix)
            slot.rest = Str(slot.name).substr(std::strlen(slot.def->name));
          break;
        case VariableSlot::kMap:
          for (auto& [re, value] : slot.map->regex) {
            regex(re.get());
            (void)value;
          }
          seal_map(*slot.map);
          break;
        case VariableSlot::kGeo:
          if (!seal_geo(*slot.geo, &error)) return fail(error, {});
          break;
        default:
          break;
      }
    }
    return true;
  }

  Plan& plan_;
  std::string* error_;
};

}  // namespace

namespace {

// Contexts are made now, so that what is wrong with a file is an error of the configuration. Where
// nothing is configured, nothing can be wrong, and the first handshake makes it.
bool seal_tls(Plan& plan, std::string* error) {
  for (const auto& conf : plan.confs) {
    if (!conf->lua.tls) continue;
    const net::TlsClientSettings& s = conf->lua.tls->settings;
    const bool plain = s.certificates.empty() && s.trusted_certificate.empty() && s.crl.empty() &&
                       s.key_log.empty() && s.conf_commands.empty() && s.ciphers == "DEFAULT";
    if (s.certificates.size() > s.keys.size()) {
      *error = "no \"lua_ssl_certificate_key\" is defined for certificate \"" +
               s.certificates.back() + "\" in " + conf->where.file + ":" +
               std::to_string(conf->where.line);
      return false;
    }
    if (!plain && !conf->lua.tls->get(error)) return false;
  }
  for (const auto& server : plan.servers) {
    // Without certificates the default server's context serves it.
    if (!server->tls || (server->tls->certificates.empty() && !server->tls->by_name &&
                         !server->tls->reject_handshake))
      continue;
    server->tls->store_sessions = server->ssl_session_store || server->tls_sessions;
    server->tls->fetch_sessions = server->ssl_session_fetch || server->tls_sessions;
    server->tls_context = net::make_server_context(*server->tls, &plan.warnings, error);
    if (!server->tls_context) return false;
  }
  return true;
}

}  // namespace

bool Plan::seal(std::string* error) {
  for (size_t i = 0; i < variables.size(); ++i)
    variable_index_[variables[i].name] = static_cast<int>(i);
  if (!seal_upstreams(*this, error) || !seal_proxy(*this, error) || !seal_memc(*this, error) ||
      !seal_grpc(*this, error))
    return false;
  if (!seal_tls(*this, error)) return false;
  seal_charset(*this);
  if (!Sealer(*this, error).run()) return false;
  build_steps(*this);
  return true;
}

bool Plan::open_logs(std::string* error) {
  StrMap<LogFile*> known;
  for (const auto& conf : confs) {
    for (AccessLog& log : conf->access_log) {
      if (!log.path.literal() || log.syslog) continue;
      LogFile*& file = known[log.path.text];
      if (!file) {
        access_files.push_back(std::make_unique<LogFile>(log.path.text));
        file = access_files.back().get();
        if (!file->open()) {
          int err = errno;
          *error = "open() \"" + log.path.text + "\" failed (" + std::to_string(err) + ": " +
                   strerror(err) + ")";
          return false;
        }
      }
      log.file = file;
    }
  }
  return true;
}

void Plan::reopen_logs() {
  for (const auto& file : access_files) file->reopen();
  for (const auto& sink : sinks) sink->reopen();
}

}  // namespace moonphase::engine
