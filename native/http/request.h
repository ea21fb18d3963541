// A request, main or sub: data only. Names are nginx's where nginx has one. Lives in its own arena
// (subrequests in their main request's); who reads and writes what is said at each group.
#pragma once

#include <sys/socket.h>

#include "base/arena.h"
#include "base/buf.h"
#include "http/conf.h"
#include "http/headers.h"
#include "net/loop.h"

namespace moonphase::http {

class Connection;
struct Body;  // http/body.h: the client's body
struct Request;

enum Method : uint32_t {
  kGet = 0x2,
  kHead = 0x4,
  kPost = 0x8,
  kPut = 0x10,
  kDelete = 0x20,
  kMkcol = 0x40,
  kCopy = 0x80,
  kMove = 0x100,
  kOptions = 0x200,
  kPropfind = 0x400,
  kProppatch = 0x800,
  kLock = 0x1000,
  kUnlock = 0x2000,
  kPatch = 0x4000,
  kTrace = 0x8000,
  kConnect = 0x10000,
  kUnknownMethod = 0x1,
};  // ngx.HTTP_GET … are these numbers

constexpr int kVersion09 = 9, kVersion10 = 1000, kVersion11 = 1001, kVersion20 = 2000;

struct HeadersIn {
  HeaderList list;
  // The server's own shortcuts; null when absent. Kept right by headers_in_set (http/headers_in.h).
  Header *host = nullptr, *connection = nullptr, *if_modified_since = nullptr,
         *if_unmodified_since = nullptr, *if_match = nullptr, *if_none_match = nullptr,
         *user_agent = nullptr, *referer = nullptr, *content_length = nullptr,
         *content_range = nullptr, *content_type = nullptr, *range = nullptr, *if_range = nullptr,
         *transfer_encoding = nullptr, *te = nullptr, *expect = nullptr, *upgrade = nullptr,
         *accept_encoding = nullptr, *via = nullptr, *authorization = nullptr,
         *keep_alive = nullptr, *x_forwarded_for = nullptr, *cookie = nullptr,
         *proxy_authorization = nullptr;
  Str user, passwd;  // of Basic authentication, on demand
  Str server;        // host name, lower case, without port
  int64_t content_length_n = -1;
  int64_t keep_alive_n = -1;
  enum ConnectionType : uint8_t { kNone, kClose, kKeepAlive } connection_type = kNone;
  bool chunked = false;
  bool multi = false;
  bool msie = false, msie6 = false, opera = false, safari = false, gecko = false, chrome = false,
       konqueror = false;
};

struct HeadersOut {
  HeaderList list, trailers;
  int status = 0;
  Str status_line;  // set by Lua or upstream: "200 OK"
  Header *server = nullptr, *date = nullptr, *content_length = nullptr, *content_encoding = nullptr,
         *location = nullptr, *refresh = nullptr, *last_modified = nullptr,
         *content_range = nullptr, *accept_ranges = nullptr, *www_authenticate = nullptr,
         *expires = nullptr, *etag = nullptr, *cache_control = nullptr, *link = nullptr;
  Str content_type;  // with its charset when set as a whole
  Str charset;
  Str override_charset;         // an upstream's X-Accel-Charset
  size_t content_type_len = 0;  // without parameters
  Str content_type_lowcase;
  int64_t content_length_n = -1;
  int64_t content_offset = 0;
  int64_t date_time = 0;
  int64_t last_modified_time = -1;
};

// Output of a subrequest that must wait for its turn (echo_location, SSI style); captures do not
// use it.
struct Postponed {
  Request* request = nullptr;
  Chain* out = nullptr;
  Postponed* next = nullptr;
};
// Output that came while a header filter waits; one for each call.
struct HeldChunk {
  Chain* in = nullptr;
  HeldChunk* next = nullptr;
};
struct PostSubrequest {
  int (*handler)(Request* r, void* data, int rc) = nullptr;
  void* data = nullptr;
};

using Handler = int (*)(Request*);
using EventHandler = void (*)(Request*);

struct VarValue {
  Str data;
  bool valid = false, not_found = false, no_cacheable = false, escape = false;
};

struct Request {
  Arena* pool = nullptr;
  Connection* conn = nullptr;
  Request* main = nullptr;    // itself for main requests
  Request* parent = nullptr;  // of subrequests
  const ServerCore* srv = nullptr;
  const CoreConf* loc = nullptr;  // engine::loc(r) is the whole
  void* generation = nullptr;     // engine::Generation: plan + VM that this request began with
  void* lua = nullptr;            // engine::LuaCtx, once a Lua handler has run
  static constexpr int kModules = 20;
  void* ctx[kModules] =
      {};  // engine numbers them from 0; cleared by internal redirects, as nginx does
  // http's own are the last ones.
  static constexpr int kCtxRange = kModules - 1, kCtxChunked = kModules - 2,
                       kCtxCopy = kModules - 3, kCtxGzip = kModules - 4, kCtxGunzip = kModules - 5;

  // --- request line ---
  uint32_t method = kUnknownMethod;
  Str method_name, request_line, unparsed_uri, uri, args, exten, http_protocol;
  int http_version = 0;
  Str schema, host_in_line;  // of absolute URIs
  bool complex_uri = false, quoted_uri = false, plus_in_uri = false, empty_path_in_uri = false;
  bool valid_unparsed_uri = false, valid_location = false, add_uri_to_alias = false;
  Str header_bytes;  // the request line and headers as they came; ngx.req.raw_header,
                     // $request_length

  HeadersIn headers_in;
  HeadersOut headers_out;

  // --- body (http/body.h) ---
  Body* body = nullptr;  // null until somebody reads it
  int64_t request_length = 0;
  int64_t lingering_until = 0;  // monotonic ms; 0: not set
  bool discard_body = false, reading_body = false, request_body_no_buffering = false;
  bool request_body_in_single_buf = false, request_body_in_file_only = false,
       request_body_in_persistent_file = false, request_body_in_clean_file = false,
       request_body_file_group_access = false;
  int request_body_file_log_level = kLogNotice;
  bool expect_tested = false;

  // --- control (engine/phases, engine/lifecycle) ---
  int phase_handler = 0;
  Handler content_handler = nullptr;
  EventHandler read_event_handler = nullptr;
  EventHandler write_event_handler = nullptr;
  int count = 1;  // references; 0 frees (main only)
  int subrequests = 50, uri_changes = 11;
  int access_code = 0;
  int err_status = 0;
  int64_t start_sec = 0, start_msec = 0;
  bool internal = false, subrequest_in_memory = false, waited = false, done = false, logged = false,
       blocked_bit = false;
  bool uri_changed = false, error_page = false, filter_finalize = false, post_action = false;
  bool header_sent = false, header_only = false, buffered = false, keepalive = false,
       lingering_close = false;
  bool chunked = false, expect_trailers = false, allow_ranges = false, single_range = false,
       disable_not_modified = false, preserve_body = false, request_complete = false,
       response_sent = false;
  bool limit_rate_set = false, limit_rate_after_set = false, root_tested = false,
       out_of_band = false;
  bool filter_need_in_memory = false, filter_need_temporary = false,
       main_filter_need_in_memory = false;
  bool gzip_tested = false, gzip_ok = false, gzip_vary = false;
  bool subrequest_ranges = false, pipeline = false, terminated = false;
  bool header_held = false;  // a header filter waits: what comes is queued before all filters
  bool detached = false;     // of main requests: the connection has gone on without it
  bool bypass_cache = false, background = false, upgrade = false, stat_reading = false;
  uint64_t limit_rate = 0, limit_rate_after = 0;
  unsigned buffered_bits = 0;  // filters that hold data back

  // --- output ---
  uint32_t filters = 0;  // slots that run for this request whatever its location says
  Chain* out = nullptr;  // what the write filter holds
  Chain* free_links = nullptr;
  Postponed* postponed = nullptr;
  void* output_held = nullptr;  // engine: the LuaCtx of a header or body filter that waits
  HeldChunk* held = nullptr;    // while header_held
  PostSubrequest* post_subrequest = nullptr;
  Str upstream_status;  // and other $upstream_* live in their module's ctx
  int64_t header_size = 0;
  bool headers_in_edited = false;  // other than as they came

  // --- rewrite captures ---
  int ncaptures = 0;  // entries used in `captures` (2 per group)
  int* captures = nullptr;
  Str captures_data;

  VarValue* variables = nullptr;  // by index in Plan.variables

  Arena::Cleanup* cleanup =
      nullptr;           // of main requests: run when the request ends, before it is logged
  net::Posted posted{};  // of main requests: runs the list below
  Request *posted_head = nullptr,
          *posted_tail = nullptr;  // of main requests: whose write_event_handler runs soon
  Request* posted_next = nullptr;
  bool posted_queued = false;
  uint8_t limit_req = 0, limit_conn = 0;  // of main requests: what those modules decided
  int logging = 0;               // of main requests: log handlers that wait, subrequests' too
  void* real_peer = nullptr;     // of main requests: engine/modules/real_ip.cc, if it has replaced
                                 // the address
  void* lua_contexts = nullptr;  // of main requests: engine's list (LuaCtx::next_of_main)

  bool is_main() const { return this == main; }
};

}  // namespace moonphase::http
