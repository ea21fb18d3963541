// Static files (ngx_http_static_module).
#include <cerrno>

#include "engine/content.h"
#include "engine/lifecycle.h"
#include "engine/path.h"
#include "engine/runtime.h"
#include "http/body.h"
#include "http/output.h"
#include "http/uri.h"

namespace moonphase::engine {

namespace {

int refused(Request* r, const FileInfo& info, Str name) {
  int level = kLogCrit, rc = 500;
  if (is_missing(info.err)) {
    level = kLogErr;
    rc = 404;
  } else if (info.err == EACCES || info.err == EMLINK || info.err == ELOOP) {
    level = kLogErr;
    rc = 403;
  }
  if (rc != 404 || r->loc->log_not_found)
    MOONPHASE_LOG(r, level, info.err, "%s \"%s\" failed", info.failed, name.data());
  return rc;
}

int redirect_to_directory(Request* r) {
  Str location = http::escape(*r->pool, r->uri, http::Escape::kUri);
  set_location(r, r->args.empty() ? r->pool->join({location, "/"})
                                  : r->pool->join({location, "/?", r->args}));
  return 301;
}

}  // namespace

int send_file(Request* r, const FileInfo& info, Str name) {
  int rc = http::send_header(r);
  if (rc == kError || rc > kOk || r->header_only) return rc;

  Buf* b = make_buf(*r->pool);
  b->file = r->pool->make<File>(info.fd, name);
  b->file_last = info.size;
  b->in_file = info.size > 0;
  b->last_buf = r->is_main();
  b->last_in_chain = true;
  b->sync = !b->last_buf && !b->in_file;
  Chain out{b};
  return http::output(r, &out);
}

int static_handler(Request* r) {
  if (!(r->method & (http::kGet | http::kHead | http::kPost))) return 405;
  if (r->uri.ends_with('/')) return kDeclined;

  Path path;
  if (!map_uri_to_path(r, &path)) return 500;
  MOONPHASE_LOG(r, kLogDebug, 0, "http filename: \"%s\"", path.name.data());
  FileInfo info;
  if (!open_file(r, path.name, &info)) return refused(r, info, path.name);
  r->root_tested = !r->error_page;

  if (info.is_dir) return redirect_to_directory(r);
  if (!info.is_file) {
    MOONPHASE_LOG(r, kLogCrit, 0, "\"%s\" is not a regular file", path.name.data());
    return 404;
  }
  if (r->method == http::kPost) return 405;
  if (int rc = http::discard_body(r); rc != kOk) return rc;

  r->conn->action = "sending response to client";
  r->headers_out.status = 200;
  r->headers_out.content_length_n = info.size;
  r->headers_out.last_modified_time = info.mtime;
  if (http::set_etag(r) != kOk || http::set_content_type(r) != kOk) return 500;
  r->allow_ranges = true;

  return send_file(r, info, path.name);
}

}  // namespace moonphase::engine
