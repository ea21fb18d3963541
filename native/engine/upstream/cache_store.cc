// What of a server's answer is kept, and for how long.
#include <fcntl.h>
#include <strings.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

#include "base/clock.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/upstream/cache.h"
#include "engine/variables/variables.h"
#include "http/body.h"

namespace moonphase::engine {

namespace {

bool contains(Str text, Str lower) {
  for (size_t i = 0; i + lower.size() <= text.size(); ++i)
    if (strncasecmp(text.data() + i, lower.data(), lower.size()) == 0) return true;
  return false;
}

// "max-age=60": true and the number; -1: it is none.
bool directive(Str text, Str name, int64_t* n) {
  for (size_t i = 0; i + name.size() <= text.size(); ++i) {
    if (strncasecmp(text.data() + i, name.data(), name.size()) != 0) continue;
    Str rest = text.substr(i + name.size());
    rest = rest.substr(0, rest.find_first_of(",; "));
    const auto [at, err] = std::from_chars(rest.data(), rest.data() + rest.size(), *n);
    if (err != std::errc() || at != rest.data() + rest.size()) *n = -1;
    return true;
  }
  return false;
}

}  // namespace

bool cache_condition(Request* r, const std::vector<Complex>& values) {
  for (const Complex& value : values)
    if (is_true(r, value)) return true;
  return false;
}

int64_t UpstreamCache::valid_for(int code) const {
  for (const auto& [want, ms] : conf->valid)
    if (want == 0 || want == code) return ms;
  return 0;
}

void UpstreamCache::header_line(const Header& h) {
  if (sending) return;
  const uint32_t ignored = u->conf->ignore_headers;
  const int64_t sec = now().wall_sec();
  if (h.lower == "cache-control") {
    if ((ignored & kIgnoreCacheControl) || accel_) return;
    if (contains(h.value, "no-cache") || contains(h.value, "no-store") ||
        contains(h.value, "private")) {
      u->head.no_cache = true;
      return;
    }
    int64_t n = 0;
    if (directive(h.value, "s-maxage=", &n) || directive(h.value, "max-age=", &n)) {
      if (n < 0) {
        u->cacheable = false;
        return;
      }
      if (n == 0) {
        u->head.no_cache = true;
        return;
      }
      valid_sec_ = sec + n;
      u->head.expired = false;
    }
    if (directive(h.value, "stale-while-revalidate=", &n)) {
      if (n < 0) u->cacheable = false;
      updating_sec_ = error_sec_ = n;
    }
    if (directive(h.value, "stale-if-error=", &n)) {
      if (n < 0) u->cacheable = false;
      error_sec_ = n;
    }
  } else if (h.lower == "expires") {
    if ((ignored & kIgnoreExpires) || valid_sec_ != 0) return;
    const int64_t when = parse_http_date(h.value);
    if (when == -1 || when < sec)
      u->head.expired = true;
    else
      valid_sec_ = when;
  } else if (h.lower == "x-accel-expires") {
    if (ignored & kIgnoreAccelExpires) return;
    const bool absolute = h.value.starts_with('@');
    const Str text = h.value.substr(absolute ? 1 : 0);
    int64_t n = 0;
    const auto [at, err] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (text.empty() || err != std::errc() || at != text.data() + text.size() || n < 0) return;
    accel_ = true;
    if (!absolute && n == 0) {
      u->cacheable = false;
      return;
    }
    valid_sec_ = absolute ? n : sec + n;
    u->head.no_cache = u->head.expired = false;
  } else if (h.lower == "set-cookie") {
    if (!(ignored & kIgnoreSetCookie)) u->cacheable = false;
  } else if (h.lower == "vary") {
    if (ignored & kIgnoreVary) return;
    if (h.value == "*" || h.value.size() + vary_.size() + 1 > sizeof header_.vary)
      u->cacheable = false;
    else
      vary_ = vary_.empty() ? h.value : u->r->pool->join({vary_, ",", h.value});
  }
}

void UpstreamCache::decide() {
  Request* r = u->r;
  if (u->head.no_cache || u->head.expired || !u->buffering || u->upgraded) u->cacheable = false;
  if (cache_condition(r, conf->no_cache)) u->cacheable = false;
  const int64_t sec = now().wall_sec();
  int64_t valid = valid_sec_;
  if (u->cacheable && valid == 0)
    if (const int64_t ms = valid_for(u->head.status)) valid = sec + ms / 1000;
  if (valid == 0) u->cacheable = false;
  const Str head(u->head_buf.start, static_cast<size_t>(u->head_buf.pos - u->head_buf.start));
  const size_t start = cache_header_start(key_text_.size());
  if (head.empty() || start + head.size() > UINT16_MAX) u->cacheable = false;
  if (u->cacheable && !node_ && exists() == kError) u->cacheable = false;  // it was bypassed
  if (u->cacheable) {
    CacheHeader h{};
    h.version = kCacheVersion;
    h.valid_sec = valid;
    h.updating_sec = updating_sec_;
    h.error_sec = error_sec_;
    h.last_modified = -1;
    h.date = sec;
    h.crc32 = cache_crc32(key_text_);
    h.header_start = static_cast<uint16_t>(start);
    h.body_start = static_cast<uint16_t>(start + head.size());
    if (u->head.status == 200 || u->head.status == 206) {
      h.last_modified = u->head.last_modified ? u->head.last_modified_time : -1;
      if (u->head.etag && u->head.etag->value.size() <= sizeof h.etag) {
        h.etag_size = static_cast<uint8_t>(u->head.etag->value.size());
        std::memcpy(h.etag, u->head.etag->value.data(), h.etag_size);
      }
    }
    if (!vary_.empty()) {
      h.vary_size = static_cast<uint8_t>(vary_.size());
      std::memcpy(h.vary, vary_.data(), vary_.size());
      set_variant(vary_);
      std::memcpy(h.variant, variant_, sizeof variant_);
    }
    // A variant whose answer no longer varies as before goes where one looks first.
    if (secondary_ && (vary_.empty() || std::memcmp(variant_, key_, sizeof key_) != 0)) {
      release();
      std::memcpy(key_, main_, sizeof key_);
      secondary_ = false;
      if (exists() == kError) u->cacheable = false;
    }
    char* bytes = r->pool->bytes(start);
    write_cache_header(bytes, h, key_text_);
    if (u->cacheable)
      file_ = http::temp_file(r, zone->use_temp_path ? Str(conf->temp_path) : Str(zone->path), true,
                              true);
    if (!file_) u->cacheable = false;
    keep(bytes, bytes + start);
    keep(const_cast<char*>(head.data()), const_cast<char*>(head.data()) + head.size());
  }
  MOONPHASE_LOG(r, kLogDebug, 0, "http cacheable: %d", u->cacheable ? 1 : 0);
  if (!u->cacheable) release();
}

void UpstreamCache::keep(char* from, char* to) {
  while (file_ && from < to) {
    const ssize_t n = pwrite(file_->fd, from, static_cast<size_t>(to - from), written_);
    if (n < 0) {
      if (errno == EINTR) continue;
      MOONPHASE_LOG(u->r, kLogCrit, errno, "pwrite() \"%.*s\" failed", STR(file_->name));
      drop_file();
      u->cacheable = false;
      return;
    }
    from += n;
    written_ += n;
  }
}

void UpstreamCache::drop_file() {
  if (file_) file_->drop();
  file_ = nullptr;
}

void UpstreamCache::complete() {
  if (!file_ || !node_) return;
  const std::string name = zone->file_of(key_), temp(file_->name);
  bool moved = rename(temp.c_str(), name.c_str()) == 0;
  if (!moved && errno == ENOENT && zone->make_directories(name))
    moved = rename(temp.c_str(), name.c_str()) == 0;
  const bool renamed = moved;
  if (!moved && errno == EXDEV) {
    // Another file system: a copy beside it, which then takes its place.
    const std::string copy = zone->path + "/" + std::to_string(getpid()) + "." +
                             std::to_string(u->r->conn->server->next_connection) + ".tmp";
    const int fd = ::open(copy.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    char buf[65536];
    off_t at = 0;
    ssize_t n = 0;
    bool ok = fd >= 0;
    while (ok && (n = pread(file_->fd, buf, sizeof buf, at)) > 0) {
      ok = write(fd, buf, static_cast<size_t>(n)) == n;
      at += n;
    }
    if (fd >= 0) ::close(fd);
    ok = ok && n == 0 && rename(copy.c_str(), name.c_str()) == 0;
    if (!ok) unlink(copy.c_str());
    moved = ok;
  }
  if (!moved)
    MOONPHASE_LOG(u->r, kLogCrit, errno, "rename() \"%s\" to \"%s\" failed", temp.c_str(),
                  name.c_str());
  if (renamed) {  // nothing is left to be removed
    file_->cleanup->fn = nullptr;
    ::close(file_->fd);
    file_ = nullptr;
  }
  drop_file();
  IndexLock lock(zone->index);
  if (moved) {
    const int64_t size = zone->on_disk(written_);
    zone->index.bytes() += size - (node_->exists ? node_->size : 0);
    node_->size = size;
    node_->exists = 1;
    node_->error = 0;
  }
  node_->updating = 0;
  --node_->count;
  node_ = nullptr;
}

void UpstreamCache::end(int rc) {
  net::current_loop()->clear_timer(&timer_);
  if (node_ && u->cacheable && (rc == 502 || rc == 504)) {
    if (const int64_t ms = valid_for(rc)) {
      IndexLock lock(zone->index);
      if (!node_->exists) {
        node_->error = static_cast<uint16_t>(rc);
        node_->valid_sec = now().wall_sec() + ms / 1000;
      }
    }
  }
  if (!background_) release();
}

// Lets go of the node.
void UpstreamCache::release() {
  if (net::Loop* loop = net::current_loop()) loop->clear_timer(&timer_);
  drop_file();
  if (!node_) return;
  IndexLock lock(zone->index);
  --node_->count;
  if (updating_ && node_->lock_time == lock_time_) node_->updating = 0;
  updating_ = false;
  if (!node_->exists && !node_->error && node_->count == 0 && conf->min_uses == 1)
    zone->index.remove(node_);
  node_ = nullptr;
}

}  // namespace moonphase::engine
