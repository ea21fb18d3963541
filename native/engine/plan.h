// The Plan in native form: what lib/conf/plan.ts describes, read once by bind/plan_reader.cc, immutable afterwards (but for
// the caches that are marked so).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/regex.h"
#include "http/conf.h"

namespace moonphase::engine {

using http::Complex;

struct Where {
  std::string file;
  int line = 0;
};

// A `*_by_lua*` or `*_by_js` handler. All pointers to Handler are stable for the Plan's life.
struct Handler {
  enum Kind : uint8_t { kInline, kFile, kJs } kind = kInline;
  std::string source;   // kInline
  Complex file;         // kFile
  int js = -1;          // kJs
  std::string chunk;    // "=content_by_lua(nginx.conf:12)"
  std::vector<Complex> args;  // set_by_lua
  Where where;
  // Cache, by the VM that has the code loaded (a Plan has one VM): the registry reference of the loaded function.
  mutable int ref = -1;
};
using HandlerPtr = std::unique_ptr<Handler>;

// --- rewrite module ---
struct Condition {
  enum Kind : uint8_t { kVar, kEqual, kMatch, kFile, kDir, kExists, kExec } kind = kVar;
  int var = -1;
  Complex value;   // kEqual's right side; the path of the file tests
  RegexPtr regex;  // kMatch
  bool negate = false;
};
struct LocConf;
struct RewriteOp {
  enum Kind : uint8_t { kSet, kSetByLua, kSetFilter, kIf, kRewrite, kReturn, kBreak } kind = kBreak;
  int var = -1;
  Complex value;                // kSet; kRewrite's replacement; kReturn's text
  HandlerPtr handler;           // kSetByLua
  std::string fn;               // kSetFilter: directive name
  std::vector<Complex> args;    // kSetFilter
  Condition cond;               // kIf
  std::vector<RewriteOp> then;  // kIf
  LocConf* conf = nullptr;      // kIf in a location
  RegexPtr regex;               // kRewrite
  bool add_args = false, absolute = false;
  enum Flag : uint8_t { kNone, kLast, kBreakFlag, kRedirect, kPermanent } flag = kNone;
  int status = 0;        // kReturn
  bool has_text = false; // kReturn
};
using RewriteProgram = std::vector<RewriteOp>;

// --- variables ---
struct MapPlan {
  Complex source;
  bool hostnames = false, is_volatile = false;
  std::unordered_map<std::string, Complex> exact;  // lower-case keys
  std::vector<std::pair<std::string, Complex>> masks;
  std::vector<std::pair<RegexPtr, Complex>> regex;
  Complex fallback;
};
struct GeoPlan {
  Complex source;
  std::vector<std::pair<std::string, std::string>> ranges;  // CIDR → value
  std::string fallback;
};
struct SplitPlan {
  Complex source;
  std::vector<std::pair<int, std::string>> parts;
};
struct VariableDef;  // engine/variables.h: the native table's row
struct VariableSlot {
  std::string name;
  enum Kind : uint8_t { kBuiltin, kSet, kMap, kGeo, kSplit, kJs } kind = kBuiltin;
  const VariableDef* def = nullptr;  // kBuiltin: resolved when the Plan is read
  std::unique_ptr<MapPlan> map;
  std::unique_ptr<GeoPlan> geo;
  std::unique_ptr<SplitPlan> split;
};

// --- logging ---
struct LogFormat {
  std::string name;
  enum Escape : uint8_t { kDefault, kJson, kNone } escape = kDefault;
  Complex value;
};
struct AccessLog {
  Complex path;
  const LogFormat* format = nullptr;
  bool has_condition = false;
  Complex condition;
  int64_t buffer = 0, flush = 0;
  bool syslog = false;
};

// --- locations ---
struct LocationTree {
  struct Static {
    std::string name;
    bool exact = false, noregex = false;
    LocConf* conf = nullptr;
  };
  std::vector<Static> prefixes;  // sorted for search when sealed
  std::vector<std::pair<RegexPtr, LocConf*>> regex;
  std::vector<std::pair<std::string, LocConf*>> named;
};

struct TryFiles {
  std::vector<Complex> files;
  int code = 0;  // =CODE
  bool has_target = false;
  Complex target;
};

struct LuaLocConf {
  HandlerPtr server_rewrite, rewrite, access, precontent, content, header_filter, body_filter, log;
  bool code_cache = true, need_request_body = false, http10_buffering = true, use_default_type = true,
       check_client_abort = false, transform_underscores = true, socket_log_errors = true;
  int64_t socket_connect_timeout = 60000, socket_send_timeout = 60000, socket_read_timeout = 60000,
          socket_keepalive_timeout = 60000;
  size_t socket_send_lowat = 0, socket_buffer_size = 4096;
  int socket_pool_size = 30;
};

struct SetMiscConf {
  bool base32_padding = true;
  std::string base32_alphabet = "0123456789abcdefghijklmnopqrstuv";
  mutable int64_t rotated = -1;  // state: what set_rotate gave last
};

struct ResolverPlan {
  std::vector<std::pair<std::string, int>> servers;
  int64_t valid = 0;  // 0: the answer's TTL
  bool ipv4 = true, ipv6 = true, local = false;
};

enum class ContentKind : uint8_t { kNone, kLua, kJs, kProxy, kEcho, kMemc, kEmptyGif, kStubStatus };

// Everything that a request's place in the configuration says. Handlers inherited from outer levels are shared.
struct LocConf : http::CoreConf {
  Where where;
  LocationTree locations;
  std::vector<std::string> limit_except_methods;
  LocConf* limit_except = nullptr;
  RewriteProgram rewrite_ops;
  bool rewrite_log = false, uninitialized_variable_warn = true;
  std::vector<AccessLog> access_log;
  std::unique_ptr<TryFiles> try_files;
  std::unique_ptr<ResolverPlan> resolver;
  int64_t resolver_timeout = 30000;
  std::vector<std::pair<bool, std::string>> access;  // allow?, CIDR
  bool has_expires = false;
  std::string expires_kind;
  int64_t expires_time = 0;
  ContentKind content = ContentKind::kNone;
  LuaLocConf lua;
  SetMiscConf set_misc;
  // Modules that a Plan's confs have only when used (echo, headers-more, proxy …): engine/modules.h numbers them.
  static constexpr int kModules = 16;
  std::shared_ptr<void> module[kModules];
};

struct ServerConf : http::ServerCore {
  Where where;
  RewriteProgram rewrite_ops;
  HandlerPtr server_rewrite;
};

struct SharedDictPlan {
  std::string name;
  size_t size = 0;
  bool exact = false;
};

struct LuaMainConf {
  std::string package_path, package_cpath;
  HandlerPtr init, init_worker, exit_worker;
  std::vector<SharedDictPlan> shared_dicts;
  int regex_cache_max_entries = 1024, regex_match_limit = 0;
  int max_pending_timers = 1024, max_running_timers = 256;
  int thread_cache_max_entries = 1024, worker_thread_vm_pool_size = 10;
  int64_t capture_error_log = 0;
  int malloc_trim = 1000;
  bool load_resty_core = true, rewrite_no_postpone = false, access_no_postpone = false, precontent_no_postpone = false;
  bool extended_capabilities = false;
  int64_t blocking_threshold = 0;
};

struct UpstreamServerPlan {
  std::string address;
  int weight = 1, max_fails = 1, max_conns = 0;
  int64_t fail_timeout = 10000;
  bool backup = false, down = false, resolve = false;
};
struct UpstreamPlan {
  std::string name;
  Where where;
  std::vector<UpstreamServerPlan> servers;
  std::string method;
  Complex hash_key;
  bool hash_consistent = false;
  int keepalive = 0;
  HandlerPtr balancer;
};

struct EnvVar {
  std::string name, value;
  bool has_value = false;
};

struct Plan {
  std::string prefix, conf_prefix, conf_file;
  // process (only what workers need)
  std::vector<EnvVar> env;
  std::string user, group, pid;
  bool daemon = false, master_process = true;
  int worker_processes = 1, worker_connections = 512;
  int64_t worker_shutdown_timeout = 0;
  Log error_log;

  std::vector<VariableSlot> variables;
  std::vector<std::unique_ptr<LogFormat>> formats;
  bool has_http = false;
  LuaMainConf lua;
  std::vector<std::unique_ptr<LocConf>> confs;
  std::vector<std::unique_ptr<ServerConf>> servers;
  std::vector<std::unique_ptr<http::ListenConf>> listens;
  std::vector<std::unique_ptr<UpstreamPlan>> upstreams;
  LocConf* main_conf = nullptr;
  // Owners of what `Log` values point to.
  std::vector<std::unique_ptr<LogSink>> sinks;
  std::vector<std::vector<Log::Target>> log_targets;

  int variable(Str lower_name) const;  // index or -1 (hash filled by seal())
  // After reading: sorts location trees, resolves builtin variables, compiles regexes, loads what can be checked. An error
  // gives false and a message in nginx's words with its place.
  bool seal(std::string* error);

 private:
  std::unordered_map<std::string, int> variable_index_;
};

// Which extra per-location and per-request slots exist (LocConf::module, http::Request::ctx).
enum Module : int { kModEcho = 0, kModHeadersMore, kModProxy, kModGzip, kModAuthRequest, kModStatic, kModUpstream, kModMemc };

}  // namespace moonphase::engine
