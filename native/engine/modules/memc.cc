// memc_pass: which command goes where.
#include "engine/modules/memc.h"

#include "base/clock.h"
#include "engine/lifecycle.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"
#include "http/body.h"
#include "http/headers_in.h"
#include "http/output.h"
#include "http/uri.h"

namespace moonphase::engine {

using memc::Command;
using memc::Ctx;

namespace {

constexpr Str kNames[] = {"set",    "add",       "replace", "append", "prepend", "get",
                          "delete", "flush_all", "incr",    "decr",   "stats",   "version"};

Command command_of(Str name) {
  for (int i = 0; i < memc::kUnknown; ++i)
    if (kNames[i] == name) return static_cast<Command>(i);
  return memc::kUnknown;
}

const MemcConf* conf_of(Request* r) {
  return static_cast<const MemcConf*>(loc(r)->module[kModMemc].get());
}

// A variable of ours: null where it is not set.
VarValue* set_value(Request* r, int index) {
  VarValue* v = get_indexed(r, index);
  return v && !v->not_found ? v : nullptr;
}
// The same; neither is "" a value.
VarValue* full_value(Request* r, int index) {
  VarValue* v = set_value(r, index);
  return v && !v->data.empty() ? v : nullptr;
}

// Digits only, and not more than an unsigned number of that size has.
bool is_number(Str s, size_t most_digits) {
  if (s.size() > most_digits) return false;
  for (char c : s)
    if (c < '0' || c > '9') return false;
  return true;
}
constexpr size_t kDigits32 = 10, kDigits64 = 20;

// --- which command ---

int pick_command(Request* r, Ctx* ctx) {
  if (VarValue* v = full_value(r, ctx->conf->command)) {
    ctx->command = command_of(v->data);
    ctx->command_name = v->data;
    if (ctx->command != memc::kUnknown) return kOk;
    MOONPHASE_LOG(r, kLogErr, 0, "ngx_memc: unknown $memc_cmd \"%.*s\"", STR(v->data));
    return 400;
  }
  switch (r->method) {
    case http::kGet:
    case http::kHead:
      ctx->command = memc::kGet;
      break;
    case http::kPost:
      ctx->command = memc::kAdd;
      break;
    case http::kPut:
      ctx->command = memc::kSet;
      break;
    case http::kDelete:
      ctx->command = memc::kDelete;
      break;
    default:
      MOONPHASE_LOG(r, kLogErr, 0, "ngx_memc: $memc_cmd variable not found for HTTP %.*s requests",
                    STR(r->method_name));
      return 400;
  }
  ctx->command_name = kNames[ctx->command];
  set_indexed(r, ctx->conf->command, ctx->command_name);
  return kOk;
}

// Are the numbers among the arguments numbers?
int check_arguments(Request* r, const Ctx& ctx) {
  bool stores = ctx.is_storage();
  if (stores || ctx.command == memc::kFlushAll || ctx.command == memc::kDelete) {
    VarValue* v = full_value(r, ctx.conf->exptime);
    if (v && !is_number(v->data, kDigits32)) {
      MOONPHASE_LOG(r, kLogErr, 0, "variable \"$memc_exptime\" takes invalid value: %.*s",
                    STR(v->data));
      return 400;
    }
  }
  if (stores) {
    VarValue* v = full_value(r, ctx.conf->flags);
    if (v && !is_number(v->data, kDigits32)) {
      MOONPHASE_LOG(r, kLogErr, 0, "variable \"$memc_flags\" takes invalid value: %.*s",
                    STR(v->data));
      return 400;
    }
  }
  if (ctx.counts()) {
    VarValue* v = full_value(r, ctx.conf->value);
    if (!v) {
      MOONPHASE_LOG(r, kLogErr, 0, "the \"$memc_value\" variable is required for command \"%.*s\"",
                    STR(ctx.command_name));
      return 400;
    }
    if (!is_number(v->data, kDigits64)) {
      MOONPHASE_LOG(r, kLogErr, 0, "variable \"$memc_value\" is invalid for incr/decr: %.*s",
                    STR(v->data));
      return 400;
    }
  }
  return kOk;
}

// --- the request ---

bool escape_key(Request* r, Ctx* ctx) {
  VarValue* v = full_value(r, ctx->conf->key);
  if (!v) {
    MOONPHASE_LOG(r, kLogErr, 0, "the \"$memc_key\" variable is not set");
    return false;
  }
  ctx->key = http::escape(*r->pool, v->data, http::Escape::kMemcached);
  MOONPHASE_LOG(r, kLogDebug, 0, "http memcached request: \"%.*s\"", STR(ctx->key));
  return true;
}

// "0" where the variable has no value; it has that one from now on.
Str value_or_zero(Request* r, int index) {
  if (VarValue* v = full_value(r, index)) return v->data;
  set_indexed(r, index, "0");
  return "0";
}

int storage_request(Upstream& u, const Ctx& ctx) {
  Request* r = u.r;
  Arena& a = *r->pool;
  Chain* value = nullptr;
  int64_t size = 0;
  if (VarValue* v = set_value(r, ctx.conf->value)) {
    size = static_cast<int64_t>(v->data.size());
    if (size) value = make_chain(a, buf_of(a, v->data));
  } else if (r->body && r->body->bufs) {
    // Another try sends the same body: our own links behind it.
    chain_add_copy(a, &value, r->body->bufs);
    size = chain_size(value);
  } else {
    MOONPHASE_LOG(r, kLogErr, 0,
                  "neither the \"$memc_value\" variable nor the request body is available");
    return kError;
  }
  Str flags = value_or_zero(r, ctx.conf->flags), exptime = value_or_zero(r, ctx.conf->exptime);
  Str line = a.join({ctx.command_name, " ", ctx.key, " ", flags, " ", exptime, " ",
                     std::to_string(size), "\r\n"});
  u.request = make_chain(a, buf_of(a, line), value);
  Chain** end = &u.request;
  while (*end) end = &(*end)->next;
  *end = make_chain(a, buf_of(a, "\r\n"));
  return kOk;
}

int create_request(Upstream& u) {
  Request* r = u.r;
  auto* ctx = static_cast<Ctx*>(u.data);
  Arena& a = *r->pool;
  bool keyless = ctx->command == memc::kFlushAll || ctx->command == memc::kStats ||
                 ctx->command == memc::kVersion;
  if (!keyless && !escape_key(r, ctx)) return kError;
  if (ctx->is_storage()) return storage_request(u, *ctx);

  Str line = keyless ? ctx->command_name : a.join({ctx->command_name, " ", ctx->key});
  VarValue* more = nullptr;
  if (ctx->counts()) more = full_value(r, ctx->conf->value);
  if (ctx->command == memc::kFlushAll || ctx->command == memc::kDelete)
    more = full_value(r, ctx->conf->exptime);
  line = more ? a.join({line, " ", more->data, "\r\n"}) : a.join({line, "\r\n"});
  u.request = make_chain(a, buf_of(a, line));
  return kOk;
}

void restart(Upstream& u) { static_cast<Ctx*>(u.data)->trailer = 0; }

constexpr UpstreamProtocol kProtocol = {create_request,   restart,    memc::process_header,
                                        memc::begin_body, memc::body, nullptr};

int memc_handler(Request* r) {
  const MemcConf* conf = conf_of(r);
  auto* ctx = r->pool->make<Ctx>();
  ctx->conf = conf;
  if (int rc = pick_command(r, ctx); rc != kOk) return rc;
  if (!(conf->allowed >> ctx->command & 1)) {
    MOONPHASE_LOG(r, kLogErr, 0, "ngx_memc: memcached command \"%.*s\" not allowed",
                  STR(ctx->command_name));
    return 403;
  }
  if (http::set_content_type(r) != kOk) return 500;

  Upstream* u = Upstream::create(r, &conf->upstream, &kProtocol, ctx);
  u->group = conf->group;
  u->schema = "memcached://";
  if (conf->dynamic) {
    Str target = eval(r, conf->url);
    if (target.empty()) {
      MOONPHASE_LOG(r, kLogErr, 0, "memc: handler: empty \"memc_pass\" target");
      return 500;
    }
    u->group = find_group(plan(r), target, 0, true);
    if (!u->group) {
      MOONPHASE_LOG(r, kLogErr, 0, "memc: upstream \"%.*s\" not found", STR(target));
      return 500;
    }
  }
  r->ctx[kModMemc] = ctx;
  if (int rc = check_arguments(r, *ctx); rc != kOk) return rc;
  if (ctx->is_storage() || ctx->command == memc::kGet) ctx->flags = get_indexed(r, conf->flags);
  return Upstream::run(r);
}

// --- variables ---

int unset(Request*, VarValue* v, Str, uintptr_t) { return not_found(v); }

int flags_as_time(Request* r, VarValue* v, Str, uintptr_t) {
  auto* ctx = static_cast<const Ctx*>(r->ctx[kModMemc]);
  if (!ctx || !ctx->flags || ctx->flags->not_found || ctx->flags->data.empty()) return not_found(v);
  int64_t time = http::parse_offset(ctx->flags->data);
  if (time < 0) return kError;
  char* text = r->pool->bytes(32);
  return found(v, {text, format_http_date(text, time)});
}

const VariableDef kRows[] = {
    {"memc_cmd", unset, nullptr, 0, kVarChangeable},
    {"memc_key", unset, nullptr, 0, kVarChangeable},
    {"memc_value", unset, nullptr, 0, kVarChangeable},
    {"memc_flags", unset, nullptr, 0, kVarChangeable},
    {"memc_exptime", unset, nullptr, 0, kVarChangeable},
    {"memc_flags_as_http_time", flags_as_time, nullptr, 0, 0},
    {nullptr, nullptr, nullptr, 0, 0},
};

}  // namespace

uint32_t memc_command_bit(Str name) {
  Command command = command_of(name);
  return command == memc::kUnknown ? 0 : 1u << command;
}

bool seal_memc(Plan& plan, std::string* error) {
  for (const auto& conf : plan.confs) {
    auto* memc = static_cast<MemcConf*>(conf->module[kModMemc].get());
    if (!memc || memc->key >= 0) continue;
    memc->key = plan.variable("memc_key");
    memc->command = plan.variable("memc_cmd");
    memc->value = plan.variable("memc_value");
    memc->flags = plan.variable("memc_flags");
    memc->exptime = plan.variable("memc_exptime");
    if (memc->dynamic) continue;
    if (memc->no_port && !memc->unix_socket) {
      memc->group = find_group(plan, memc->host, 0, true);
      if (!memc->group) {
        *error = "no port in upstream \"" + memc->host + "\" in " + conf->where.file + ":" +
                 std::to_string(conf->where.line);
        return false;
      }
      continue;
    }
    std::string host = memc->unix_socket ? "unix:" + memc->host : memc->host;
    memc->group = group_for(plan, host, memc->unix_socket ? 0 : memc->port, memc->no_port,
                            conf->where, error);
    if (!memc->group) return false;
  }
  return true;
}

void register_memc() {
  add_variables(kRows);
  set_content_handler(ContentKind::kMemc, memc_handler);
}

}  // namespace moonphase::engine
