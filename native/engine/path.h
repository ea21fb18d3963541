// Where a URI lies in the file system, and what is there.
#pragma once

#include <sys/stat.h>

#include "http/request.h"

namespace moonphase::engine {

using http::Request;

// `root` (or `alias`) of the request's location, absolute.
Str root_of(Request* r);

struct Path {
  Str name;         // NUL-terminated
  size_t root = 0;  // bytes of `name` that are the root
};
// ngx_http_map_uri_to_path. `suffix` is appended. False (logged): "alias" where the URI was
// rewritten.
bool map_uri_to_path(Request* r, Path* path, Str suffix = {});

struct FileInfo {
  int err = 0;                   // errno of what failed
  const char* failed = nullptr;  // "open()", "stat()"
  int fd = -1;                   // open_file: closed with the request's arena
  off_t size = 0;
  time_t mtime = 0;
  bool is_file = false, is_dir = false, is_exec = false;
};
// `name` is NUL-terminated. False: `err` and `failed` say why. Directories are not held open.
bool open_file(Request* r, Str name, FileInfo* info);
bool stat_file(Str name, FileInfo* info);
// These three mean that there is no such file.
bool is_missing(int err);

}  // namespace moonphase::engine
