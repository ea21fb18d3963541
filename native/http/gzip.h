// gzip, gzip_static and gunzip: which answers a client may get compressed.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "http/request.h"

namespace moonphase::http {

// `gzip_proxied`
enum GzipProxied : uint32_t {
  kProxiedOff = 1,
  kProxiedExpired = 2,
  kProxiedNoCache = 4,
  kProxiedNoStore = 8,
  kProxiedPrivate = 0x10,
  kProxiedNoLastModified = 0x20,
  kProxiedNoEtag = 0x40,
  kProxiedAuth = 0x80,
  kProxiedAny = 0x100,
};

// There where `gzip`, `gzip_static` or `gunzip` is on.
struct GzipConf {
  bool on = false;  // gzip
  enum Static : uint8_t { kStaticOff, kStaticOn, kStaticAlways } of_files = kStaticOff;
  std::vector<std::string> types;  // lower case
  bool any_type = false;
  int level = 1, window_bits = 15, memory_level = 8;
  int64_t min_length = 20;
  int buffers_number = 32;
  size_t buffers_size = 4096;
  bool no_buffer = false, vary = false;
  bool gunzip = false;
  int gunzip_buffers_number = 32;
  size_t gunzip_buffers_size = 4096;
  int http_version = kVersion11;
  uint32_t proxied = kProxiedOff;
  bool disable_msie6 = false;
  // gzip_disable's expressions; empty: there are none.
  std::function<bool(Request* r, Str user_agent)> disabled;
};

// nginx's ngx_http_gzip_ok: may the client get it compressed? Remembered in r->gzip_ok.
bool gzip_ok(Request* r);
// Is the answer's content type one of these (lower case)?
bool has_type(const Request* r, const std::vector<std::string>& types);

int gzip_header_filter(Request* r);
int gzip_body_filter(Request* r, Chain* in);
int gunzip_header_filter(Request* r);
int gunzip_body_filter(Request* r, Chain* in);
// Of what the filter has compressed, for $gzip_ratio; false: nothing was.
bool gzip_sizes(const Request* r, uint64_t* in, uint64_t* out);

}  // namespace moonphase::http
