#include "shm/segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace moonphase::shm {

namespace {

bool fail(std::string* error, const char* what, int err = errno) {
  *error = std::string(what) + " failed (" + std::to_string(err) + ": " + std::strerror(err) + ")";
  return false;
}

// Locks that the kernel drops when a process dies. Byte 0 is held while users are counted, byte 1
// shared by each user.
constexpr off_t kCensus = 0, kUser = 1;
constexpr size_t kLongestName = 200;

int byte_lock(int fd, off_t byte, short type, bool wait) {
  struct flock fl {};
  fl.l_type = type;
  fl.l_whence = SEEK_SET;
  fl.l_start = byte;
  fl.l_len = 1;
  int rc;
  do {
    rc = fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &fl);
  } while (rc != 0 && errno == EINTR);
  return rc;
}

}  // namespace

Segment& Segment::operator=(Segment&& other) noexcept {
  if (this != &other) {
    close();
    base_ = std::exchange(other.base_, nullptr);
    size_ = std::exchange(other.size_, 0);
    fd_ = std::exchange(other.fd_, -1);
    name_ = std::exchange(other.name_, {});
  }
  return *this;
}

bool Segment::create(const std::string& label, uint64_t size, Segment* out, std::string* error) {
  Segment s;
  s.fd_ = memfd_create(label.substr(0, 200).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (s.fd_ < 0) return fail(error, "memfd_create()");
  if (ftruncate(s.fd_, static_cast<off_t>(size)) != 0) return fail(error, "ftruncate()");
  // Nobody who has the descriptor can make our accesses fault.
  if (fcntl(s.fd_, F_ADD_SEALS, F_SEAL_SHRINK) != 0) return fail(error, "fcntl(F_ADD_SEALS)");
  s.size_ = size;
  if (!s.map(error)) return false;
  *out = std::move(s);
  return true;
}

bool Segment::attach(int fd, Segment* out, std::string* error) {
  Segment s;
  s.fd_ = fd;
  struct stat st;
  if (fstat(fd, &st) != 0) return fail(error, "fstat()");
  s.size_ = static_cast<uint64_t>(st.st_size);
  if (!s.map(error)) return false;
  *out = std::move(s);
  return true;
}

std::string Segment::shm_name(const std::string& name) {
  std::string s = "/";
  for (char c : name) s += c == '/' ? '_' : c;
  return s;
}

bool Segment::renew(const std::string& path, uint64_t size, std::string* error) {
  // What users that were all killed may have left goes first.
  if (ftruncate(fd_, 0) != 0) return fail(error, "ftruncate()");
  if (ftruncate(fd_, static_cast<off_t>(size)) != 0) return fail(error, "ftruncate()");
  int rc = posix_fallocate(fd_, 0, static_cast<off_t>(size));
  if (rc != 0) {
    shm_unlink(path.c_str());
    return fail(error, "posix_fallocate()", rc);
  }
  size_ = size;
  return map(error);
}

bool Segment::open_named(const std::string& name, uint64_t size,
                         const std::function<bool(char* base, uint64_t size)>& keep, Segment* out,
                         bool* fresh, std::string* error) {
  if (name.size() > kLongestName) return fail(error, "shm_open()", ENAMETOOLONG);
  std::string path = shm_name(name);
  for (;;) {
    Segment s;
    s.fd_ = shm_open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s.fd_ < 0) return fail(error, "shm_open()");
    if (byte_lock(s.fd_, kCensus, F_WRLCK, true) != 0) return fail(error, "fcntl(F_OFD_SETLKW)");
    struct stat st;
    if (fstat(s.fd_, &st) != 0) return fail(error, "fstat()");
    if (st.st_nlink == 0) continue;  // its last user left while we waited
    if (st.st_uid != geteuid() || (st.st_mode & 077) != 0)
      return fail(error, "shm_open(): not ours,", EACCES);
    bool alone = byte_lock(s.fd_, kUser, F_WRLCK, false) == 0;
    s.size_ = static_cast<uint64_t>(st.st_size);
    *fresh = alone && (!keep || s.size_ == 0);
    if (!*fresh && !s.map(error)) return false;
    if (alone && !*fresh && !keep(s.base_, s.size_)) {
      munmap(std::exchange(s.base_, nullptr), s.size_);
      *fresh = true;
    }
    if (*fresh && !s.renew(path, size, error)) return false;
    if (byte_lock(s.fd_, kUser, F_RDLCK, true) != 0) return fail(error, "fcntl(F_OFD_SETLKW)");
    if (!keep) s.name_ = path;
    if (!*fresh) s.settle();
    *out = std::move(s);
    return true;
  }
}

void Segment::settle() { byte_lock(fd_, kCensus, F_UNLCK, false); }

void Segment::remove_unused(const std::string& beginning) {
  DIR* dir = opendir("/dev/shm");
  if (dir == nullptr) return;
  while (const dirent* file = readdir(dir)) {
    std::string name = file->d_name;
    if (!name.starts_with(beginning)) continue;
    Segment s;
    s.fd_ = shm_open(shm_name(name).c_str(), O_RDWR | O_CLOEXEC, 0);
    if (s.fd_ >= 0) s.name_ = shm_name(name);  // close() removes it
  }
  closedir(dir);
}

bool Segment::map(std::string* error) {
  void* p = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (p == MAP_FAILED) return fail(error, "mmap()");
  base_ = static_cast<char*>(p);
  return true;
}

void Segment::close() {
  if (base_ != nullptr) munmap(base_, size_);
  base_ = nullptr;
  if (!name_.empty()) {
    if (byte_lock(fd_, kCensus, F_WRLCK, true) == 0 && byte_lock(fd_, kUser, F_WRLCK, false) == 0) {
      shm_unlink(name_.c_str());
    }
    name_.clear();
  }
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

}  // namespace moonphase::shm
