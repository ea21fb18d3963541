// `index`: the file that a directory's URI stands for (ngx_http_index_module).
#include <cerrno>

#include "engine/content.h"
#include "engine/lifecycle.h"
#include "engine/path.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"

namespace moonphase::engine {

namespace {

int index_error(Request* r, Str file, int err) {
  if (err == EACCES) {
    MOONPHASE_LOG(r, kLogErr, err, "\"%s\" is forbidden", file.data());
    return 403;
  }
  if (r->loc->log_not_found) MOONPHASE_LOG(r, kLogErr, err, "\"%s\" is not found", file.data());
  return 404;
}

// Is the directory there at all? `file` is the index file that was not found in it.
int test_directory(Request* r, Str file, size_t directory_length) {
  Str dir = Str(r->pool->c_str(file.substr(0, directory_length)), directory_length);
  FileInfo info;
  if (!stat_file(dir, &info)) {
    if (info.err == ENOENT) return index_error(r, file, ENOENT);
    if (info.err == EACCES)
      return kOk;  // the file could be asked for, so the directory may be searched
    MOONPHASE_LOG(r, kLogCrit, info.err, "%s \"%s\" failed", info.failed, dir.data());
    return 500;
  }
  if (info.is_dir) return kOk;
  MOONPHASE_LOG(r, kLogAlert, 0, "\"%s\" is not a directory", dir.data());
  return 500;
}

}  // namespace

int index_handler(Request* r) {
  if (!r->uri.ends_with('/') || !(r->method & (http::kGet | http::kHead | http::kPost)))
    return kDeclined;

  bool tested = false;
  for (const Complex& index : r->loc->index) {
    Str name = eval(r, index);
    if (name.starts_with('/')) return internal_redirect(r, name, r->args);

    Path path;
    if (!map_uri_to_path(r, &path, name)) return 500;
    FileInfo info;
    if (!stat_file(path.name, &info)) {
      if (info.err == EMLINK || info.err == ELOOP) return 403;
      if (info.err == ENOTDIR || info.err == ENAMETOOLONG || info.err == EACCES)
        return index_error(r, path.name, info.err);
      if (!tested) {
        size_t directory = path.name.size() - name.size();
        if (directory > 1 && path.name[directory - 1] == '/') --directory;
        if (int rc = test_directory(r, path.name, directory); rc != kOk) return rc;
        tested = true;
      }
      if (info.err == ENOENT) continue;
      MOONPHASE_LOG(r, kLogCrit, info.err, "%s \"%s\" failed", info.failed, path.name.data());
      return 500;
    }
    return internal_redirect(r, r->pool->join({r->uri, name}), r->args);
  }
  return kDeclined;
}

}  // namespace moonphase::engine
