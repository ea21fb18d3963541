#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>

#include "engine/content/dav.h"
#include "engine/lifecycle.h"

namespace moonphase::engine {

namespace {

constexpr mode_t kModeBits = 07777;

struct CloseDir {
  void operator()(DIR* d) const { closedir(d); }
};

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// Calls fn(path, name, st) for what is in `dir`, links as such. False: `dir` cannot be read.
template <class Fn>
bool each_entry(Request* r, const std::string& dir, Fn&& fn) {
  std::unique_ptr<DIR, CloseDir> d(opendir(dir.c_str()));
  if (!d) {
    MOONPHASE_LOG(r, kLogCrit, errno, "opendir() \"%s\" failed", dir.c_str());
    return false;
  }
  while (dirent* entry = readdir(d.get())) {
    Str name = entry->d_name;
    if (name == "." || name == "..") continue;
    std::string path = dir + "/" + entry->d_name;
    struct stat st;
    if (lstat(path.c_str(), &st) != 0) {
      MOONPHASE_LOG(r, kLogCrit, errno, "lstat() \"%s\" failed", path.c_str());
      continue;
    }
    fn(path, name, st);
  }
  return true;
}

bool delete_content(Request* r, const std::string& dir) {
  return each_entry(r, dir, [&](const std::string& path, Str, const struct stat& st) {
    if (!S_ISDIR(st.st_mode)) {
      if (unlink(path.c_str()) != 0) dav_error(r, errno, 0, "unlink()", path.c_str());
    } else if (delete_content(r, path) && rmdir(path.c_str()) != 0) {
      dav_error(r, errno, 0, "rmdir()", path.c_str());
    }
  });
}

void copy_time(Request* r, const char* path, int fd, time_t mtime) {
  timespec times[2] = {{mtime, 0}, {mtime, 0}};
  if ((fd >= 0 ? futimens(fd, times) : utimensat(AT_FDCWD, path, times, 0)) != 0)
    MOONPHASE_LOG(r, kLogAlert, errno, "utimes() \"%s\" failed", path);
}

bool make_path(Request* r, const char* file, int access) {
  std::string path = file;
  for (size_t at = 1; (at = path.find('/', at)) != std::string::npos; ++at) {
    path[at] = 0;
    if (mkdir(path.c_str(), dav_dir_access(access)) != 0 && errno != EEXIST && errno != EACCES) {
      MOONPHASE_LOG(r, kLogCrit, errno, "mkdir() \"%s\" failed", path.c_str());
      return false;
    }
    path[at] = '/';
  }
  return true;
}

// To another file system: under another name first, so that nobody sees half a file.
bool move_by_copy(Request* r, const char* from, const char* to) {
  struct stat st;
  if (stat(from, &st) != 0) {
    MOONPHASE_LOG(r, kLogCrit, errno, "stat() \"%s\" failed", from);
    return false;
  }
  char suffix[24];
  std::snprintf(suffix, sizeof suffix, ".%010u", static_cast<unsigned>(getpid()));
  std::string temp = std::string(to) + suffix;
  if (!dav_copy_file(r, from, temp.c_str(), st)) return false;
  if (rename(temp.c_str(), to) != 0) {
    MOONPHASE_LOG(r, kLogCrit, errno, "rename() \"%s\" to \"%s\" failed", temp.c_str(), to);
    unlink(temp.c_str());
    return false;
  }
  if (unlink(from) != 0) MOONPHASE_LOG(r, kLogCrit, errno, "unlink() \"%s\" failed", from);
  return true;
}

}  // namespace

int dav_error(Request* r, int err, int missing, const char* call, const char* path) {
  int level = kLogErr, status;
  switch (err) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
      status = missing;
      break;
    case EACCES:
    case EPERM:
      status = 403;
      break;
    case EEXIST:
      status = 405;
      break;
    case ENOSPC:
      level = kLogCrit;
      status = 507;
      break;
    default:
      level = kLogCrit;
      status = 500;
  }
  MOONPHASE_LOG(r, level, err, "%s \"%s\" failed", call, path);
  return status;
}

int dav_delete(Request* r, const char* path, bool dir) {
  if (!dir) return unlink(path) == 0 ? int{kOk} : dav_error(r, errno, 404, "unlink()", path);
  if (!delete_content(r, path)) return 500;
  return rmdir(path) == 0 ? int{kOk} : dav_error(r, errno, 404, "rmdir()", path);
}

bool dav_copy_file(Request* r, const char* from, const char* to, const struct stat& st) {
  auto failed = [&](const char* call, const char* path) {
    MOONPHASE_LOG(r, kLogCrit, errno, "%s \"%s\" failed", call, path);
    return false;
  };
  Fd in(open(from, O_RDONLY | O_CLOEXEC));
  if (in.get() < 0) return failed("open()", from);
  Fd out(open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, st.st_mode & kModeBits));
  if (out.get() < 0) return failed("open()", to);
  char buf[65536];
  for (;;) {
    ssize_t n = read(in.get(), buf, sizeof buf);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("read()", from);
    if (n == 0) break;
    for (ssize_t done = 0; done < n;) {
      ssize_t w = write(out.get(), buf + done, static_cast<size_t>(n - done));
      if (w < 0 && errno == EINTR) continue;
      if (w < 0) return failed("write()", to);
      done += w;
    }
  }
  copy_time(r, to, out.get(), st.st_mtime);
  return true;
}

bool dav_copy_tree(Request* r, const char* from, const char* to) {
  std::string target = to;
  return each_entry(r, from, [&](const std::string& path, Str name, const struct stat& st) {
    std::string copy = target + "/" + std::string(name);
    if (S_ISREG(st.st_mode)) {
      dav_copy_file(r, path.c_str(), copy.c_str(), st);
    } else if (S_ISDIR(st.st_mode)) {
      if (mkdir(copy.c_str(), st.st_mode & kModeBits) != 0) {
        dav_error(r, errno, 0, "mkdir()", copy.c_str());
        return;
      }
      dav_copy_tree(r, path.c_str(), copy.c_str());
      copy_time(r, copy.c_str(), -1, st.st_mtime);
    }
  });
}

bool dav_move_file(Request* r, const char* from, const char* to, int access, bool create_path) {
  if (rename(from, to) == 0) return true;
  int err = errno;
  if (err == ENOENT && create_path) {
    if (!make_path(r, to, access)) return false;
    if (rename(from, to) == 0) return true;
    err = errno;
  }
  if (err == EXDEV) return move_by_copy(r, from, to);
  MOONPHASE_LOG(r, kLogCrit, err, "rename() \"%s\" to \"%s\" failed", from, to);
  return false;
}

}  // namespace moonphase::engine
