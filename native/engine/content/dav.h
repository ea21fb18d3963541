// WebDAV's PUT, DELETE, MKCOL, COPY and MOVE (ngx_http_dav_module).
#pragma once

#include <sys/stat.h>

#include "http/request.h"

namespace moonphase::engine {

using http::Request;

struct DavConf {
  uint32_t methods = 0;  // http::Method bits
  bool create_full_put_path = false;
  int min_delete_depth = 0;
  int access = 0600;  // of new files; directories get x where they have r
};

int dav_handler(Request* r);

// --- dav_files.cc: what is done to the file system. Paths are NUL-terminated. ---

// A call failed: logged; what the client is told. `missing` is the status where a file is not
// there.
int dav_error(Request* r, int err, int missing, const char* call, const char* path);
inline mode_t dav_dir_access(int access) {
  return static_cast<mode_t>(access | ((access & 0444) >> 2));
}
// A file, or a directory with all that is in it. kOk or a status.
int dav_delete(Request* r, const char* path, bool dir);
// Copies content, mode and time. False: logged.
bool dav_copy_file(Request* r, const char* from, const char* to, const struct stat& st);
// What is in directory `from`, into `to`, which is there. What cannot be copied is logged and left
// out.
bool dav_copy_tree(Request* r, const char* from, const char* to);
// Moves a file, over file systems, too. `create_path`: directories that are missing are made.
bool dav_move_file(Request* r, const char* from, const char* to, int access, bool create_path);

}  // namespace moonphase::engine
