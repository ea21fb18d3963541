// gzip_static: FILE.gz beside FILE.
#include <cerrno>

#include "engine/content.h"
#include "engine/lifecycle.h"
#include "engine/path.h"
#include "engine/runtime.h"
#include "http/body.h"
#include "http/gzip.h"
#include "http/output.h"

namespace moonphase::engine {

int gzip_static_handler(Request* r) {
  using http::GzipConf;
  const GzipConf* conf = r->loc->gzip.get();
  if (!conf || conf->of_files == GzipConf::kStaticOff) return kDeclined;
  if (!(r->method & (http::kGet | http::kHead)) || r->uri.ends_with('/')) return kDeclined;
  bool always = conf->of_files == GzipConf::kStaticAlways;
  bool ok = always || http::gzip_ok(r);
  if (!conf->vary && !ok) return kDeclined;

  Path path;
  if (!map_uri_to_path(r, &path, ".gz")) return 500;
  MOONPHASE_LOG(r, kLogDebug, 0, "http filename: \"%s\"", path.name.data());
  FileInfo info;
  if (!open_file(r, path.name, &info)) {
    if (is_missing(info.err)) return kDeclined;
    bool denied = info.err == EACCES || info.err == EMLINK || info.err == ELOOP;
    MOONPHASE_LOG(r, denied ? kLogErr : kLogCrit, info.err, "%s \"%s\" failed", info.failed,
                  path.name.data());
    return kDeclined;
  }
  if (!always) {
    r->gzip_vary = true;
    if (!ok) return kDeclined;
  }
  if (info.is_dir) return kDeclined;
  if (!info.is_file) {
    MOONPHASE_LOG(r, kLogCrit, 0, "\"%s\" is not a regular file", path.name.data());
    return 404;
  }
  r->root_tested = !r->error_page;
  if (int rc = http::discard_body(r); rc != kOk) return rc;

  r->conn->action = "sending response to client";
  r->headers_out.status = 200;
  r->headers_out.content_length_n = info.size;
  r->headers_out.last_modified_time = info.mtime;
  if (http::set_etag(r) != kOk || http::set_content_type(r) != kOk) return 500;
  http::add_header_out(r, "Content-Encoding", "gzip");
  r->allow_ranges = true;
  return send_file(r, info, path.name);
}

}  // namespace moonphase::engine
