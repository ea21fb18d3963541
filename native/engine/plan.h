// The Plan in native form: what lib/conf/plan.ts describes, read once by bind/plan_reader.cc,
// immutable afterwards (but for the caches that are marked so).
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/arena.h"
#include "base/syslog.h"
#include "engine/address_rule.h"
#include "engine/regex.h"
#include "http/conf.h"

namespace moonphase::http {
struct Request;
}
namespace moonphase::shm {
struct Zone;
}

namespace moonphase::engine {

using http::Complex;

// A map of texts that is searched with a Str, without making a std::string.
struct StrHash {
  using is_transparent = void;
  size_t operator()(Str s) const { return std::hash<Str>()(s); }
};
template <class T>
using StrMap = std::unordered_map<std::string, T, StrHash, std::equal_to<>>;

struct Where {
  std::string file;
  int line = 0;
};

// A `*_by_lua*` or `*_by_js` handler. All pointers to Handler are stable for the Plan's life.
struct Handler {
  enum Kind : uint8_t { kInline, kFile, kJs } kind = kInline;
  std::string source;         // kInline
  Complex file;               // kFile
  int js = -1;                // kJs
  std::string chunk;          // "=content_by_lua(nginx.conf:12)"
  std::vector<Complex> args;  // set_by_lua
  Where where;
  // Cache, by the VM that has the code loaded (a Plan has one VM): the registry reference of the
  // loaded function.
  mutable int ref = -1;
};
// Shared: a handler that inner levels inherit is one object, so that its code is loaded once.
using HandlerPtr = std::shared_ptr<Handler>;

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
  int status = 0;         // kReturn
  bool has_text = false;  // kReturn
};
using RewriteProgram = std::vector<RewriteOp>;

// --- variables ---
struct MapPlan {
  Complex source;
  bool hostnames = false, is_volatile = false;
  StrMap<Complex> exact;  // lower-case keys
  std::vector<std::pair<std::string, Complex>> masks;
  std::vector<std::pair<RegexPtr, Complex>> regex;
  Complex fallback;
};
// Longest prefix of addresses: a binary trie over 128 bits (IPv4 as ::ffff:a.b.c.d), made by
// seal().
struct AddressTrie {
  struct Node {
    int child[2] = {-1, -1};
    int value = -1;
  };
  std::vector<Node> nodes;
  void add(const uint8_t* address, int bits, int value);
  int find(const uint8_t* address) const;  // -1: none
};
struct GeoPlan {
  Complex source;
  std::vector<std::pair<std::string, std::string>> ranges;  // CIDR → value
  std::string fallback;
  std::vector<AddressRule> proxies;  // whose X-Forwarded-For is believed
  bool proxy_recursive = false;
  AddressTrie trie;  // of indexes into `ranges`
};
struct SplitPlan {
  Complex source;
  std::vector<std::pair<int, std::string>> parts;
};
struct VariableDef;  // engine/variables/variables.h: the native table's row
struct VariableSlot {
  std::string name;
  // kCapture: set by a named group; not found, without a warning, until its regex has matched.
  enum Kind : uint8_t { kBuiltin, kSet, kCapture, kMap, kGeo, kSplit, kJs } kind = kBuiltin;
  const VariableDef* def = nullptr;  // kBuiltin: resolved by seal()
  Str rest;                          // prefix variables: what follows the prefix
  bool assigned = false;             // by `set` and the like: ngx.var may write it
  int js = -1;                       // kJs
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
class LogFile;  // engine/access_log.h
struct AccessLog {
  Complex path;
  LogFile* file = nullptr;  // opened by Plan::open_logs() when the path has no variables
  const LogFormat* format = nullptr;
  bool has_condition = false;
  Complex condition;
  int64_t buffer = 0, flush = 0;
  Syslog* syslog = nullptr;  // instead of a file
};

// --- locations ---
struct LocationTree {
  struct Static {
    std::string name;
    bool exact = false, noregex = false;
    LocConf* conf = nullptr;
  };
  std::vector<Static> prefixes;
  std::vector<std::pair<RegexPtr, LocConf*>> regex;
  std::vector<std::pair<std::string, LocConf*>> named;

  // `prefixes` for search, sorted by name; made by seal().
  struct Node {
    Str name;
    LocConf* exact = nullptr;
    LocConf* inclusive = nullptr;
    int parent = -1;  // the longest inclusive name that is a proper prefix of this one
    bool auto_redirect = false;
  };
  std::vector<Node> nodes;
  bool has_auto_redirect = false;
};

struct TryFiles {
  std::vector<Complex> files;
  int code = 0;  // =CODE
  bool has_target = false;
  Complex target;
};

// The lua_ssl_* directives. Locations that have the same share one.
struct LuaTlsConf {
  net::TlsClientSettings settings;
  mutable net::TlsContext context;  // made by seal(), or on first use when nothing can be wrong
  // Null: *error.
  SSL_CTX* get(std::string* error) const;
};

struct LuaLocConf {
  std::shared_ptr<const LuaTlsConf> tls;
  HandlerPtr server_rewrite, rewrite, access, precontent, content, header_filter, body_filter, log;
  HandlerPtr proxy_ssl_certificate, proxy_ssl_verify;
  bool upstream_skip_default_verify = false;
  bool code_cache = true, need_request_body = false, http10_buffering = true,
       use_default_type = true, check_client_abort = false, transform_underscores = true,
       socket_log_errors = true;
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

enum class ContentKind : uint8_t {
  kNone,
  kLua,
  kProxy,
  kGrpc,
  kEcho,
  kMemc,
  kEmptyGif,
  kStubStatus
};

// Everything that a request's place in the configuration says. Handlers inherited from outer levels
// are shared.
struct LocConf : http::CoreConf {
  Where where;
  LocationTree locations;
  std::vector<std::string> limit_except_methods;
  LocConf* limit_except = nullptr;
  uint32_t limit_except_mask =
      0;  // methods that get `limit_except`'s configuration; made by seal()
  // Bytes of the URI that `alias` replaces: the length of the location's name; -1 for regex
  // locations. 0: no alias.
  int alias_length = 0;
  Str escaped_name;           // for the redirect of `auto_redirect`; made by seal()
  LocConf* parent = nullptr;  // `if` and limit_except blocks: whose they are; may be null
  RewriteProgram rewrite_ops;
  bool rewrite_log = false, uninitialized_variable_warn = true, msie_padding = true;
  std::vector<AccessLog> access_log;
  std::unique_ptr<TryFiles> try_files;
  std::unique_ptr<ResolverPlan> resolver;
  int64_t resolver_timeout = 30000;
  std::vector<std::pair<bool, std::string>> access;  // allow?, CIDR
  std::vector<AddressRule> access_rules;             // made of `access` by seal()
  bool has_auth_basic = false;                       // both of these are set
  Complex auth_basic, auth_basic_user_file;
  ContentKind content = ContentKind::kNone;
  bool serves_files = false;  // says where they lie: `root`, `alias` or `try_files`
  LuaLocConf lua;
  SetMiscConf set_misc;
  // Modules that a Plan's confs have only when used (echo, headers-more, proxy …): engine/modules.h
  // numbers them.
  static constexpr int kModules = 20;
  std::shared_ptr<void> module[kModules];
};

// ssl_session_cache shared:NAME:SIZE, seen by all workers (engine/tls_sessions.h).
struct TlsSessionZone {
  ~TlsSessionZone();
  std::string name;
  size_t size = 0;
  shm::Zone* shared = nullptr;  // while a generation has it
};

struct ServerConf : http::ServerCore {
  Where where;
  RewriteProgram rewrite_ops;
  HandlerPtr server_rewrite;
  HandlerPtr ssl_client_hello, ssl_certificate, ssl_session_store, ssl_session_fetch;
  // ssl_certificate and ssl_certificate_key when one of them has variables: loaded per handshake.
  std::vector<std::pair<Complex, Complex>> certificates_by_name;
  TlsSessionZone* tls_sessions = nullptr;  // ssl_session_cache shared: in the plan's list
  std::vector<RegexPtr> name_regex;  // of `names`, null where the name is none; made by seal()
};

struct SharedDictPlan {
  std::string name;
  size_t size = 0;
  bool exact = false;
  bool any = false;  // values of any type
};

struct ThreadPoolPlan {
  std::string name;
  int threads = 0, max_queue = 0;
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
  bool load_resty_core = true, rewrite_no_postpone = false, access_no_postpone = false,
       precontent_no_postpone = false;
  bool extended_capabilities = false;
  // Set by seal(): whether any location uses the phase, so that others don't pay for it.
  bool capture_used = false, header_filter_used = false, body_filter_used = false, log_used = false;
  int64_t blocking_threshold = 0;
};

struct UpstreamServerPlan {
  std::string address;
  std::string name;                    // as configured
  std::vector<std::string> addresses;  // what it was resolved to
  int weight = 1, max_fails = 1, max_conns = 0;
  int64_t fail_timeout = 10000;
  bool backup = false, down = false, resolve = false;
};
enum class UpstreamMethod : uint8_t { kRoundRobin, kLeastConn, kIpHash, kHash, kRandom };
struct UpstreamPlan {
  std::string name;
  Where where;
  std::vector<UpstreamServerPlan> servers;
  UpstreamMethod method = UpstreamMethod::kRoundRobin;
  Complex hash_key;
  bool hash_consistent = false, random_two = false;
  std::string zone;             // empty: the servers' state is the process's own
  bool placeholder = false;     // balancer_by_lua without servers
  int balancer_keepalive = 32;  // idle connections of balancer_by_lua at most
  std::unique_ptr<ResolverPlan> resolver;
  int64_t resolver_timeout = 30000;
  int keepalive = 0;             // idle connections at most
  bool keepalive_local = false;  // kept for the location that opened them only
  int keepalive_requests = 1000;
  int64_t keepalive_time = 3'600'000, keepalive_timeout = 60'000;  // ms
  HandlerPtr balancer;
};

// The memory that upstream groups keep their servers in.
struct UpstreamZonePlan {
  std::string name;
  uint64_t size = 0;
  Where where;
};
struct LimitZone;  // engine/modules/limits.h

struct EnvVar {
  std::string name, value;
  bool has_value = false;
};

class UpstreamZone;  // engine/upstream/zone.h

// One step of the walk through the phases (engine/phases.cc), made by seal() from what the Plan
// uses.
struct PhaseStep {
  // kOk: the walk stops here for now; kAgain: it goes on at r->phase_handler.
  int (*checker)(http::Request* r, const PhaseStep& step) = nullptr;
  int (*handler)(http::Request* r) = nullptr;
  int next = 0;  // where the following phase begins
};

struct Plan {
  Plan();
  ~Plan();
  std::string prefix, conf_prefix, conf_file;
  // process (only what workers need)
  std::vector<EnvVar> env;
  std::string user, group, pid;
  bool daemon = false, master_process = true;
  int worker_processes = 1, worker_connections = 512;
  int64_t worker_shutdown_timeout = 0;
  std::vector<ThreadPoolPlan> thread_pools;
  Log error_log;
  std::vector<std::string> warnings;  // of seal(): what it does without

  std::vector<VariableSlot> variables;
  std::vector<std::unique_ptr<LogFormat>> formats;
  bool has_http = false;
  LuaMainConf lua;
  std::vector<std::unique_ptr<LocConf>> confs;
  std::vector<std::unique_ptr<ServerConf>> servers;
  std::vector<std::unique_ptr<http::ListenConf>> listens;
  // Of requests that come in through another HTTP server: any of ours may be meant. Made by seal().
  http::ListenConf hosted;
  std::vector<std::unique_ptr<UpstreamPlan>> upstreams;
  std::vector<UpstreamZonePlan> upstream_zones;
  std::string dynamic_zone;  // `upstream_zone`: of groups that have none of their own
  std::vector<std::shared_ptr<UpstreamZone>> zones;  // opened with the plan's VM
  std::vector<std::pair<std::string, std::vector<std::string>>>
      upstream_lists;  // set_hashed_upstream
  std::vector<std::unique_ptr<LimitZone>> limit_zones;
  std::vector<std::unique_ptr<TlsSessionZone>> tls_session_zones;
  LocConf* main_conf = nullptr;
  std::shared_ptr<void> js;  // bind's: the functions that Handler::js names
  // Owners of what `Log` values point to.
  std::vector<std::unique_ptr<Syslog>> syslogs;
  std::vector<std::unique_ptr<LogSink>> sinks;
  std::vector<std::vector<Log::Target>> log_targets;
  Arena arena{1024};  // texts that seal() makes

  int variable(Str lower_name) const;  // index or -1 (hash filled by seal())
  std::vector<PhaseStep> steps;
  int server_rewrite_step = 0, location_rewrite_step = 0;
  int max_captures = 0;  // ints that the captures of any regex of the Plan need
  // After reading: sorts location trees, resolves builtin variables, compiles regexes, loads what
  // can be checked. An error gives false and a message in nginx's words with its place.
  bool seal(std::string* error);
  // Opens the access logs that have no variables in their paths. `error` as nginx logs it.
  bool open_logs(std::string* error);
  void reopen_logs();
  std::vector<std::unique_ptr<LogFile>> access_files;

 private:
  StrMap<int> variable_index_;
};

// Which extra per-location and per-request slots exist (LocConf::module, http::Request::ctx).
enum Module : int {
  kModEcho = 0,
  kModHeadersMore,
  kModProxy,
  kModCharset,
  kModAuthRequest,
  kModStatic,
  kModUpstream,
  kModMemc,
  kModReferer,
  kModDav,
  kModRealIp,
  kModMirror,
  kModLimits,
  kModSub,
  kModGrpc,
  kModEnd
};

}  // namespace moonphase::engine
