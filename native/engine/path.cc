#include "engine/path.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"

namespace moonphase::engine {

Str root_of(Request* r) {
  const LocConf* conf = loc(r);
  if (conf->root.literal()) return conf->root.text;
  Str root = eval(r, conf->root);
  if (root.starts_with('/')) return root;
  return r->pool->join({plan(r).prefix, root});
}

bool map_uri_to_path(Request* r, Path* path, Str suffix) {
  const LocConf* conf = loc(r);
  if (conf->alias && !r->valid_location) {
    MOONPHASE_LOG(r, kLogAlert, 0,
                  "\"alias\" cannot be used in location \"%s\" where URI was rewritten",
                  conf->name.c_str());
    return false;
  }
  Str root = root_of(r);
  Str uri = r->uri;
  if (conf->alias) {
    if (conf->alias_length < 0)
      uri = r->add_uri_to_alias ? uri : Str();
    else
      uri.remove_prefix(std::min(uri.size(), static_cast<size_t>(conf->alias_length)));
  }
  Str name = r->pool->join({root, uri, suffix, Str("", 1)});
  path->name = name.substr(0, name.size() - 1);
  path->root = root.size();
  return true;
}

namespace {

void fill(const struct stat& st, FileInfo* info) {
  info->size = st.st_size;
  info->mtime = st.st_mtime;
  info->is_file = S_ISREG(st.st_mode);
  info->is_dir = S_ISDIR(st.st_mode);
  info->is_exec = (st.st_mode & S_IXUSR) != 0;
}

bool failed(FileInfo* info, const char* what) {
  info->err = errno;
  info->failed = what;
  return false;
}

void close_fd(void* fd) { ::close(static_cast<int>(reinterpret_cast<intptr_t>(fd))); }

}  // namespace

bool open_file(Request* r, Str name, FileInfo* info) {
  int fd = ::open(name.data(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return failed(info, "open()");
  struct stat st;
  if (fstat(fd, &st) != 0) {
    failed(info, "fstat()");
    ::close(fd);
    return false;
  }
  fill(st, info);
  if (!info->is_file) {
    ::close(fd);
    return true;
  }
  info->fd = fd;
  r->pool->on_destroy(close_fd, reinterpret_cast<void*>(static_cast<intptr_t>(fd)));
  return true;
}

bool stat_file(Str name, FileInfo* info) {
  struct stat st;
  if (stat(name.data(), &st) != 0) return failed(info, "stat()");
  fill(st, info);
  return true;
}

bool is_missing(int err) { return err == ENOENT || err == ENOTDIR || err == ENAMETOOLONG; }

}  // namespace moonphase::engine
