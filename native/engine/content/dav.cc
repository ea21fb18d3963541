#include "engine/content/dav.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "engine/lifecycle.h"
#include "engine/path.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "http/body.h"
#include "http/output.h"
#include "http/uri.h"

namespace moonphase::engine {

namespace {

constexpr int kInvalidDepth = -1, kInfinityDepth = -2;

const DavConf* conf_of(Request* r) {
  return static_cast<const DavConf*>(loc(r)->module[kModDav].get());
}

// No handler of these methods takes a body; `sentence` says so.
int refuse_body(Request* r, const char* sentence) {
  if (r->headers_in.content_length_n > 0 || r->headers_in.chunked) {
    MOONPHASE_LOG(r, kLogErr, 0, "%s", sentence);
    return 415;
  }
  int rc = http::discard_body(r);
  return rc == kAgain ? int{kOk} : rc;
}

int depth(Request* r, int absent) {
  const http::Header* h = r->headers_in.list.find("depth");
  if (!h) return absent;
  if (h->value == "0") return 0;
  if (h->value == "1") return 1;
  if (h->value == "infinity") return kInfinityDepth;
  MOONPHASE_LOG(r, kLogErr, 0, "client sent invalid \"Depth\" header: \"%.*s\"", STR(h->value));
  return kInvalidDepth;
}

void location_is_uri(Request* r) {
  set_location(r, http::escape(*r->pool, r->uri, http::Escape::kUri));
}

// --- PUT ---

int put_status(Request* r, const Path& path, const char* temp) {
  struct stat st;
  if (lstat(path.name.data(), &st) != 0) return 201;
  if (!S_ISDIR(st.st_mode)) return 204;
  MOONPHASE_LOG(r, kLogErr, EISDIR, "\"%s\" could not be created", path.name.data());
  if (unlink(temp) != 0) MOONPHASE_LOG(r, kLogCrit, errno, "unlink() \"%s\" failed", temp);
  return 409;
}

// The client's Date becomes the file's.
void set_time(Request* r, int fd) {
  const http::Header* h = r->headers_in.list.find("date");
  if (!h) return;
  int64_t date = parse_http_date(h->value);
  if (date < 0) return;
  timespec times[2] = {{date, 0}, {date, 0}};
  futimens(fd, times);
}

void put_body_is_there(Request* r) {
  File* temp = r->body ? r->body->temp_file : nullptr;
  if (!temp) {
    MOONPHASE_LOG(r, kLogErr, 0, "PUT request body must be in a file");
    return finalize_request(r, 500);
  }
  Path path;
  if (!map_uri_to_path(r, &path)) return finalize_request(r, 500);
  int status = put_status(r, path, temp->name.data());
  if (status == 409) return finalize_request(r, status);
  const DavConf& conf = *conf_of(r);
  set_time(r, temp->fd);
  if (fchmod(temp->fd, static_cast<mode_t>(conf.access)) != 0)
    MOONPHASE_LOG(r, kLogCrit, errno, "chmod() \"%s\" failed", temp->name.data());
  if (!dav_move_file(r, temp->name.data(), path.name.data(), conf.access,
                     conf.create_full_put_path)) {
    if (unlink(temp->name.data()) != 0)
      MOONPHASE_LOG(r, kLogCrit, errno, "unlink() \"%s\" failed", temp->name.data());
    return finalize_request(r, 500);
  }
  if (status == 201) {
    location_is_uri(r);
    r->headers_out.content_length_n = 0;
  }
  r->headers_out.status = status;
  r->header_only = true;
  finalize_request(r, http::send_header(r));
}

int put(Request* r) {
  if (r->uri.ends_with('/')) {
    MOONPHASE_LOG(r, kLogErr, 0, "cannot PUT to a collection");
    return 409;
  }
  if (r->headers_in.content_range) {
    MOONPHASE_LOG(r, kLogErr, 0, "PUT with range is unsupported");
    return 501;
  }
  r->request_body_in_file_only = true;
  r->request_body_in_persistent_file = true;
  r->request_body_in_clean_file = true;
  r->request_body_file_group_access = true;
  r->request_body_file_log_level = 0;
  int rc = http::read_body(r, put_body_is_there);
  return rc >= 300 ? rc : int{kDone};
}

// --- DELETE, MKCOL ---

bool deep_enough(Request* r, int least) {
  int d = 0;
  for (size_t i = 0; i < r->uri.size(); ++i)
    if (r->uri[i] == '/' && ++d >= least && i + 1 < r->uri.size()) return true;
  MOONPHASE_LOG(r, kLogErr, 0, "insufficient URI depth:%d to DELETE", d);
  return false;
}

int remove(Request* r) {
  if (int rc = refuse_body(r, "DELETE with body is unsupported"); rc != kOk) return rc;
  const DavConf& conf = *conf_of(r);
  if (conf.min_delete_depth && !deep_enough(r, conf.min_delete_depth)) return 409;
  Path path;
  if (!map_uri_to_path(r, &path)) return 500;
  struct stat st;
  if (lstat(path.name.data(), &st) != 0)
    return dav_error(r, errno, errno == ENOTDIR ? 409 : 404, "lstat()", path.name.data());
  bool dir = S_ISDIR(st.st_mode);
  if (dir) {
    if (!r->uri.ends_with('/')) {
      MOONPHASE_LOG(r, kLogErr, EISDIR, "DELETE \"%s\" failed", path.name.data());
      return 409;
    }
    if (depth(r, kInfinityDepth) != kInfinityDepth) {
      MOONPHASE_LOG(r, kLogErr, 0, "\"Depth\" header must be infinity");
      return 400;
    }
    path.name = r->pool->c_str(path.name.substr(0, path.name.size() - 1));
  } else if (int d = depth(r, 0); d != 0 && d != kInfinityDepth) {
    MOONPHASE_LOG(r, kLogErr, 0, "\"Depth\" header must be 0 or infinity");
    return 400;
  }
  int rc = dav_delete(r, path.name.data(), dir);
  return rc == kOk ? 204 : rc;
}

int make_collection(Request* r) {
  if (int rc = refuse_body(r, "MKCOL with body is unsupported"); rc != kOk) return rc;
  if (!r->uri.ends_with('/')) {
    MOONPHASE_LOG(r, kLogErr, 0, "MKCOL can create a collection only");
    return 409;
  }
  Path path;
  if (!map_uri_to_path(r, &path)) return 500;
  const char* dir = r->pool->c_str(path.name.substr(0, path.name.size() - 1));
  if (mkdir(dir, dav_dir_access(conf_of(r)->access)) != 0)
    return dav_error(r, errno, 409, "mkdir()", dir);
  location_is_uri(r);
  return 201;
}

// --- COPY, MOVE ---

// The path of a `Destination` header, normalised; false: refused (logged).
bool destination(Request* r, Str value, Str* uri) {
  auto invalid = [&] {
    MOONPHASE_LOG(r, kLogErr, 0, "client sent invalid \"Destination\" header: \"%.*s\"",
                  STR(value));
    return false;
  };
  *uri = value;
  if (!value.starts_with('/')) {
    constexpr Str kScheme = "http://";
    Str server = r->headers_in.server;
    if (server.empty() || !value.starts_with(kScheme)) return invalid();
    Str rest = value.substr(kScheme.size());
    if (!rest.starts_with(server)) {
      MOONPHASE_LOG(r, kLogErr, 0,
                    "\"Destination\" URI \"%.*s\" is handled by different repository than the "
                    "source URI",
                    STR(value));
      return false;
    }
    size_t slash = rest.find('/', server.size());
    if (slash == Str::npos) return invalid();
    *uri = rest.substr(slash);
  }
  Str args;
  unsigned flags = http::kLogUnsafe;
  return http::parse_unsafe_uri(r, uri, &args, &flags) == kOk || invalid();
}

// 0: do not overwrite; 1: do; -1: refused (logged).
int overwrite(Request* r) {
  const http::Header* h = r->headers_in.list.find("overwrite");
  if (!h) return 1;
  if (h->value.size() == 1) {
    if ((h->value[0] | 0x20) == 't') return 1;
    if ((h->value[0] | 0x20) == 'f') return 0;
  }
  MOONPHASE_LOG(r, kLogErr, 0, "client sent invalid \"Overwrite\" header: \"%.*s\"", STR(h->value));
  return -1;
}

bool depth_is_right(Request* r) {
  int d = depth(r, kInfinityDepth);
  if (d == kInfinityDepth) return true;
  if (r->method == http::kMove) {
    MOONPHASE_LOG(r, kLogErr, 0, "\"Depth\" header must be infinity");
    return false;
  }
  if (d == 0) return true;
  MOONPHASE_LOG(r, kLogErr, 0, "\"Depth\" header must be 0 or infinity");
  return false;
}

int transfer_dir(Request* r, Str path, const char* to, const struct stat& st) {
  const char* from = r->pool->c_str(path.substr(0, path.size() - 1));
  if (r->method == http::kMove && rename(from, to) == 0) return 201;
  if (mkdir(to, st.st_mode & 07777) != 0) return dav_error(r, errno, 404, "mkdir()", to);
  if (!dav_copy_tree(r, from, to)) return 500;
  if (r->method == http::kMove) {
    if (int rc = dav_delete(r, from, true); rc != kOk) return rc;
  }
  return 201;
}

int transfer(Request* r) {
  if (int rc = refuse_body(r, "COPY and MOVE with body are unsupported"); rc != kOk) return rc;
  const http::Header* header = r->headers_in.list.find("destination");
  if (!header) {
    MOONPHASE_LOG(r, kLogErr, 0, "client sent no \"Destination\" header");
    return 400;
  }
  Str target;
  if (!destination(r, header->value, &target)) return 400;
  if (r->uri.ends_with('/') != header->value.ends_with('/')) {
    MOONPHASE_LOG(r, kLogErr, 0,
                  "both URI \"%.*s\" and \"Destination\" URI \"%.*s\" should be either collections "
                  "or non-collections",
                  STR(r->uri), STR(header->value));
    return 409;
  }
  // Below an alias it must name something there.
  if (const LocConf* conf = loc(r);
      conf->alias && static_cast<int64_t>(target.size()) < conf->alias_length) {
    MOONPHASE_LOG(r, kLogErr, 0, "client sent invalid \"Destination\" header: \"%.*s\"",
                  STR(header->value));
    return 400;
  }
  if (!depth_is_right(r)) return 400;
  int over = overwrite(r);
  if (over < 0) return 400;

  Path path, copy;
  if (!map_uri_to_path(r, &path)) return 500;
  Str uri = std::exchange(r->uri, target);
  bool mapped = map_uri_to_path(r, &copy);
  r->uri = uri;
  if (!mapped) return 500;
  MOONPHASE_LOG(r, kLogDebug, 0, "http copy from: \"%s\"", path.name.data());
  bool slash = copy.name.ends_with('/');
  if (slash) copy.name.remove_suffix(1);
  const char* to = r->pool->c_str(copy.name);
  MOONPHASE_LOG(r, kLogDebug, 0, "http copy to: \"%s\"", to);

  struct stat st;
  bool exists = lstat(to, &st) == 0, exists_as_dir = false;
  if (!exists && errno != ENOENT) return dav_error(r, errno, 404, "lstat()", to);
  if (exists) {
    exists_as_dir = S_ISDIR(st.st_mode);
    if (exists_as_dir && !slash) {
      MOONPHASE_LOG(r, kLogErr, 0, "\"%.*s\" could not be %.*sed to collection \"%.*s\"",
                    STR(r->uri), STR(r->method_name), STR(header->value));
      return 409;
    }
    if (!over) {
      MOONPHASE_LOG(r, kLogErr, EEXIST, "\"%s\" could not be created", to);
      return 412;
    }
  }
  if (lstat(path.name.data(), &st) != 0)
    return dav_error(r, errno, 404, "lstat()", path.name.data());
  if (S_ISDIR(st.st_mode)) {
    if (!r->uri.ends_with('/')) {
      MOONPHASE_LOG(r, kLogErr, 0, "\"%.*s\" is collection", STR(r->uri));
      return 400;
    }
    if (exists) {
      if (int rc = dav_delete(r, to, exists_as_dir); rc != kOk) return rc;
    }
    return transfer_dir(r, path.name, to, st);
  }
  if (r->method == http::kMove)
    return dav_move_file(r, path.name.data(), to, conf_of(r)->access, true) ? 204 : 500;
  return dav_copy_file(r, path.name.data(), to, st) ? 204 : 500;
}

}  // namespace

int dav_handler(Request* r) {
  const DavConf* conf = conf_of(r);
  if (!conf || !(r->method & conf->methods)) return kDeclined;
  switch (r->method) {
    case http::kPut:
      return put(r);
    case http::kDelete:
      return remove(r);
    case http::kMkcol:
      return make_collection(r);
    case http::kCopy:
    case http::kMove:
      return transfer(r);
    default:
      return kDeclined;
  }
}

}  // namespace moonphase::engine
