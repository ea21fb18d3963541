// Configuration as data, as far as http reads it. Field names are the directives' own; the Plan
// (lib/conf/plan.ts) says what each means. Immutable once read; lives as long as its Plan. Times
// are ms, sizes bytes.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "base/types.h"
#include "net/tls_context.h"

namespace moonphase::http {

// A value with variables. `parts` empty: `text` is the whole value.
struct Complex {
  struct Part {
    enum Kind : uint8_t { kText, kVar, kCapture } kind = kText;
    int index = 0;  // variable or capture number
    std::string text;
  };
  std::string text;
  std::vector<Part> parts;
  bool literal() const { return parts.empty(); }
  bool empty() const { return parts.empty() && text.empty(); }
};

struct ErrorPage {
  std::vector<int> codes;
  int overwrite = -1;  // -1: keep the code; 0: the target's own
  Complex target;
};

struct HeaderRule {  // add_header
  std::string name;
  Complex value;
  bool always = false;
};

enum class Alternative : uint8_t { kOff, kOn, kAlways };

struct GzipConf;  // http/gzip.h

// What every request's configuration has for http; engine's LocConf extends it.
struct CoreConf {
  std::string name;
  enum Kind : uint8_t {
    kHttp,
    kServer,
    kPrefix,
    kExact,
    kRegex,
    kNamed,
    kIf,
    kLimitExcept
  } kind = kHttp;
  bool noregex = false;
  bool auto_redirect = false;
  bool internal = false;

  Log error_log;

  Complex root;
  bool alias = false;
  std::vector<Complex> index;
  std::string default_type = "text/plain";
  std::unordered_map<std::string, std::string> types;  // extension, lower case → type
  int64_t client_max_body_size = 1 << 20;
  size_t client_body_buffer_size = 16384;
  int64_t client_body_timeout = 60000;
  enum InFileOnly : uint8_t { kFileOff, kFileOn, kFileClean } client_body_in_file_only = kFileOff;
  bool client_body_in_single_buffer = false;
  std::string client_body_temp_path;
  int64_t send_timeout = 60000;
  int64_t keepalive_timeout = 75000;
  int64_t keepalive_header = 0;
  int64_t keepalive_requests = 1000;
  int64_t keepalive_time = 3600000;
  std::vector<std::string> keepalive_disable;
  Alternative lingering_close = Alternative::kOn;
  int64_t lingering_time = 30000;
  int64_t lingering_timeout = 5000;
  bool reset_timedout_connection = false;
  bool tcp_nodelay = true;
  bool tcp_nopush = false;
  bool sendfile = false;
  size_t postpone_output = 1460;
  Complex limit_rate, limit_rate_after;
  bool chunked_transfer_encoding = true;
  bool etag = true;
  enum IfModified : uint8_t { kImsOff, kImsExact, kImsBefore } if_modified_since = kImsExact;
  int64_t max_ranges = 0x7fffffff;
  enum Tokens : uint8_t { kTokensOff, kTokensOn, kTokensBuild } server_tokens = kTokensOn;
  bool server_name_in_redirect = false;
  bool port_in_redirect = true;
  bool absolute_redirect = true;
  bool satisfy_any = false;
  std::vector<ErrorPage> error_page;
  bool recursive_error_pages = false;
  bool log_not_found = true;
  bool log_subrequest = false;
  size_t subrequest_output_buffer_size = 4096;
  std::vector<HeaderRule> add_header, add_trailer;
  struct Expires {
    enum Kind : uint8_t { kOff, kEpoch, kMax, kAccess, kModified, kDaily } kind = kOff;
    int64_t time = 0;  // seconds
    Complex value;     // with variables: parsed anew for each request
  } expires;
  int64_t sendfile_max_chunk = 2 << 20;
  size_t http2_chunk_size = 8192;
  std::shared_ptr<const GzipConf> gzip;  // null: neither gzip, gzip_static nor gunzip
  // Slots (http/output.h) whose filters have something to do here; the others are not called. A
  // request adds its own (Request::filters).
  uint32_t header_filters = ~0u, body_filters = ~0u;
};

struct ServerName {
  std::string name;
  enum Kind : uint8_t { kExact, kHead, kTail, kRegex } kind = kExact;
  std::string pattern;
  bool caseless = false;
};

// What a connection needs before a location is known.
struct ServerCore {
  std::vector<ServerName> names;
  size_t client_header_buffer_size = 1024;
  int large_buffers_number = 4;
  size_t large_buffers_size = 8192;
  int64_t client_header_timeout = 60000;
  bool ignore_invalid_headers = true;
  bool underscores_in_headers = false;
  bool merge_slashes = true;
  int max_headers = 1000;
  bool http2 = false;
  int http2_max_concurrent_streams = 128;
  size_t http2_body_preread_size = 65536;
  size_t http2_recv_buffer_size = 256 * 1024;
  CoreConf* conf = nullptr;  // the server's own configuration
  // With `listen … ssl`; the context is made by the Plan's seal().
  std::unique_ptr<net::TlsServerSettings> tls;
  net::TlsContext tls_context;
  std::string name() const { return names.empty() ? std::string() : names[0].name; }
};

struct NameIndex;  // http/virtual_server.cc

struct ListenConf {
  std::string name, host;
  enum Family : uint8_t { kInet, kInet6, kUnix } family = kInet;
  int port = 0;
  int backlog = 511;
  bool bind = true;  // false: its connections come in through the wildcard address of the same port
  bool wildcard = false, reuseport = false, ipv6only = true, deferred = false;
  bool ssl = false, http2 = false, proxy_protocol = false;
  int rcvbuf = -1, sndbuf = -1, fastopen = -1, so_keepalive = -1;
  std::vector<ServerCore*> servers;
  ServerCore* default_server = nullptr;
  mutable std::shared_ptr<NameIndex> names;  // made on first use
};

}  // namespace moonphase::http
