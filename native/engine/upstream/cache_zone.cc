#include "engine/upstream/cache_zone.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/clock.h"
#include "engine/modules/proxy.h"
#include "engine/runtime.h"

namespace moonphase::engine {

namespace {

constexpr int64_t kRest = 10000;      // ms: the longest pause of the manager
constexpr int64_t kLoadDelay = 1000;  // ms after the start
constexpr int64_t kForgotten = 60;    // s: a temporary file of that age is nobody's
constexpr size_t kHexKey = 2 * shm::kCacheKey;

bool from_hex(const char* text, unsigned char* key) {
  for (size_t i = 0; i < kHexKey; ++i) {
    const char c = text[i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return false;
    key[i / 2] = static_cast<unsigned char>(i % 2 ? key[i / 2] * 16 + digit : digit);
  }
  return true;
}

bool make_directory(const std::string& path) {
  return mkdir(path.c_str(), 0700) == 0 || errno == EEXIST;
}

}  // namespace

// A walk through the directories, some files at a time.
struct CacheZone::Loader {
  struct Level {
    DIR* dir;
    std::string path;
  };
  std::vector<Level> open;
  void enter(std::string path) {
    if (DIR* dir = opendir(path.c_str())) open.push_back({dir, std::move(path)});
  }
  void leave() {
    closedir(open.back().dir);
    open.pop_back();
  }
  ~Loader() {
    while (!open.empty()) leave();
  }
};

CacheZone::CacheZone() = default;

CacheZone::~CacheZone() {
  if (net::Loop* loop = net::current_loop()) loop->clear_timer(&timer_);
  if (shared) shm::zone_registry_release(shared);
}

bool CacheZone::open(int fd, const Log* log, std::string* error) {
  const std::string at = " in " + where.file + ":" + std::to_string(where.line);
  shm::ZoneSpec spec;
  spec.name = name;
  spec.size = size;
  spec.plain = true;
  spec.fd = fd;
  shared = shm::zone_registry_open(spec, error);
  if (!shared) {
    *error += at;
    return false;
  }
  std::string place = path;
  for (const int n : levels) place += " " + std::to_string(n);
  if (!shm::CacheIndex::open(shared->segment.base(), size, place, &index, error)) {
    *error = "cache \"" + name + "\" " + *error + at;
    return false;
  }
  if (!make_directory(path)) {
    *error = "mkdir() \"" + path + "\" failed (" + std::to_string(errno) + ": " + strerror(errno) +
             ")" + at;
    return false;
  }
  log_ = log;
  timer_.fn = [](void* p) { static_cast<CacheZone*>(p)->tick(); };
  timer_.data = this;
  if (net::Loop* loop = net::current_loop()) loop->set_timer(&timer_, kLoadDelay);
  return true;
}

std::string CacheZone::file_of(const unsigned char* key) const {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string hex;
  for (size_t i = 0; i < shm::kCacheKey; ++i) {
    hex += kHex[key[i] >> 4];
    hex += kHex[key[i] & 15];
  }
  std::string file = path;
  size_t end = hex.size();
  for (const int n : levels) {
    end -= static_cast<size_t>(n);
    file += '/';
    file.append(hex, end, static_cast<size_t>(n));
  }
  return file + '/' + hex;
}

bool CacheZone::make_directories(const std::string& file) const {
  for (size_t at = path.size() + 1; (at = file.find('/', at)) != std::string::npos; ++at)
    if (!make_directory(file.substr(0, at))) return false;
  return true;
}

// --- looking after the files ---

// Under the lock, which is given up while the file goes.
void CacheZone::remove_file(shm::CacheNode* node) {
  if (node->exists) {
    index.bytes() -= node->size;
    node->exists = 0;
    ++node->count;
    const std::string file = file_of(node->key);
    index.unlock();
    if (unlink(file.c_str()) != 0 && errno != ENOENT)
      log_write(*log_, nullptr, kLogCrit, errno, "unlink() \"%s\" failed", file.c_str());
    index.lock();
    --node->count;
  }
  if (node->count == 0 && !node->exists) index.remove(node);
}

// Of the oldest `most` ones, one that nobody holds.
bool CacheZone::forced(int most) {
  shm::CacheNode* node = index.oldest();
  for (; node && most-- > 0; node = index.newer_than(node)) {
    if (node->count > 0) continue;
    remove_file(node);
    return true;
  }
  return false;
}

void CacheZone::make_room() {
  IndexLock lock(index);
  forced(20);
}

int64_t CacheZone::expire() {
  IndexLock lock(index);
  const int64_t started = now().monotonic_ms;
  for (int n = 0; n < manager_files; ++n) {
    shm::CacheNode* node = index.oldest();
    if (!node) return kRest;
    const int64_t wait = node->expire - now().wall_sec();
    if (wait > 0) return std::min(wait * 1000, kRest);
    if (node->count == 0) {
      remove_file(node);
    } else {
      // Still in use, or its worker has died: it is looked at again later.
      node->expire = now().wall_sec() + inactive / 1000;
      index.touch(node);
      if (node->expire + 3600 < now().wall_sec())
        log_write(*log_, nullptr, kLogAlert, 0, "ignore long locked inactive cache entry, count:%d",
                  node->count);
    }
    if (now().monotonic_ms - started > manager_threshold) break;
  }
  return manager_sleep;
}

int64_t CacheZone::shrink() {
  for (int n = 0; n < manager_files; ++n) {
    bool enough = true;
    if (max_size) {
      IndexLock lock(index);
      enough = index.bytes() <= max_size;
    }
    struct statvfs fs;
    if (enough && min_free && statvfs(path.c_str(), &fs) == 0)
      enough = static_cast<int64_t>(fs.f_bavail * fs.f_frsize) >= min_free;
    if (enough) return kRest;
    IndexLock lock(index);
    if (!forced(20)) return 1000;
  }
  return manager_sleep;
}

void CacheZone::tick() {
  int64_t wait = kRest;
  bool load = false, manage = false;
  {
    IndexLock lock(index);
    load = loader_ || (index.cold() && index.take(shm::CacheIndex::kLoad, now().wall_ms, 60000));
    manage = index.take(shm::CacheIndex::kManage, now().wall_ms, manager_sleep);
  }
  if (load) {
    load_some();
    if (loader_) wait = loader_sleep;
  }
  if (manage) wait = std::min({wait, expire(), shrink()});
  // A file may be kept for less than the pause.
  wait = std::min(wait, std::max<int64_t>(inactive / 2, 500));
  if (max_size) wait = std::min<int64_t>(wait, 1000);
  net::current_loop()->set_timer(&timer_, static_cast<uint64_t>(std::max<int64_t>(wait, 10)));
}

void CacheZone::load_some() {
  if (!loader_) {
    loader_ = std::make_unique<Loader>();
    loader_->enter(path);
  }
  for (int n = 0; n < loader_files && !loader_->open.empty(); ++n) {
    const Loader::Level& level = loader_->open.back();
    const dirent* entry = readdir(level.dir);
    if (!entry) {
      loader_->leave();
      continue;
    }
    const std::string name = entry->d_name, file = level.path + '/' + name;
    if (name == "." || name == "..") continue;
    struct stat st;
    if (lstat(file.c_str(), &st) != 0) continue;
    if (S_ISDIR(st.st_mode)) {
      if (loader_->open.size() <= levels.size()) loader_->enter(file);
      continue;
    }
    unsigned char key[shm::kCacheKey];
    if (name.size() != kHexKey || !from_hex(name.c_str(), key) || file != file_of(key)) {
      if (now().wall_sec() - st.st_mtime > kForgotten) unlink(file.c_str());
      continue;
    }
    IndexLock lock(index);
    if (shm::CacheNode* known = index.find(key)) {
      if (known->exists || known->count > 0) continue;
      index.remove(known);
    }
    shm::CacheNode* node = index.add(key);
    if (!node) {  // no room: what is not known is written anew
      while (!loader_->open.empty()) loader_->leave();
      break;
    }
    node->uses = 1;
    node->exists = 1;
    node->size = on_disk(st.st_size);
    node->expire = now().wall_sec() + inactive / 1000;
    index.bytes() += node->size;
  }
  if (!loader_->open.empty()) return;
  loader_.reset();
  IndexLock lock(index);
  index.warm();
  log_write(*log_, nullptr, kLogNotice, 0, "http file cache: %s %.3fM, bsize: 4096", path.c_str(),
            static_cast<double>(index.bytes()) / 1048576);
}

bool open_caches(Generation* g, std::string* error) {
  const auto& inherited = g->runtime->options.zone_fds;
  for (const auto& conf : g->plan->confs) {
    const auto* proxy = static_cast<const ProxyConf*>(conf->module[kModProxy].get());
    if (!proxy || !proxy->upstream.cache) continue;
    for (const auto& zone : *proxy->upstream.cache->all) {
      if (zone->shared) continue;
      const auto it = inherited.find(zone->name);
      if (!zone->open(it == inherited.end() ? -1 : it->second, &g->plan->error_log, error))
        return false;
    }
  }
  return true;
}

}  // namespace moonphase::engine
