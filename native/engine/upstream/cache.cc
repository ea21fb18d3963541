#include "engine/upstream/cache.h"

#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "base/clock.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"
#include "http/body.h"
#include "http/output.h"
#include "net/digest.h"

namespace moonphase::engine {

namespace {

constexpr int64_t kLookAgain =
    500;  // ms: how often a request that waits looks whether it may go on

void close_fd(void* fd) { ::close(static_cast<int>(reinterpret_cast<intptr_t>(fd))); }

// All lines of that name, joined.
Str request_header(void* owner, Str name) {
  auto* r = static_cast<Request*>(owner);
  Str all;
  for (const Header& h : r->headers_in.list) {
    if (!h.hash || h.lower != name) continue;
    all = all.empty() ? h.value : r->pool->join({all, ",", h.value});
  }
  return all;
}

}  // namespace

// --- before the server is asked ---

// Null and an empty *name: not cached here.
CacheZone* UpstreamCache::zone_of(Upstream& u, const CacheConf& conf, Str* name) {
  if (conf.fixed) return conf.fixed.get();
  *name = eval(u.r, conf.zone);
  if (name->empty() || *name == "off") {
    *name = {};
    return nullptr;
  }
  for (const auto& zone : *conf.all)
    if (zone->name == *name) return zone.get();
  return nullptr;
}

int UpstreamCache::look(Upstream& u) {
  Request* r = u.r;
  const CacheConf& conf = *u.conf->cache;
  if (!(r->method & conf.methods)) return kDeclined;
  Str name;
  CacheZone* zone = zone_of(u, conf, &name);
  if (!zone) {
    if (name.empty()) return kDeclined;
    MOONPHASE_LOG(r, kLogErr, 0, "cache \"%.*s\" not found", STR(name));
    u.finalize(500);
    return kDone;
  }
  if (r->method == http::kHead && conf.convert_head) u.method = "GET";
  auto* c = new (r->pool->alloc(sizeof(UpstreamCache))) UpstreamCache;
  c->u = &u;
  c->conf = &conf;
  c->zone = zone;
  c->key_text_ = conf.has_key ? eval(r, conf.key) : r->pool->join({u.cache_host, u.cache_uri});
  const size_t start = cache_header_start(c->key_text_.size());
  if (start + 256 > u.conf->buffer_size) {
    MOONPHASE_LOG(r, kLogErr, 0,
                  "proxy_buffer_size %zu is not enough for cache key, it should be increased to at "
                  "least %zu",
                  u.conf->buffer_size, (start + 256 + 1023) / 1024 * 1024);
    return kDeclined;
  }
  MOONPHASE_LOG(r, kLogDebug, 0, "http cache key: \"%.*s\"", STR(c->key_text_));
  net::md5(c->key_text_, c->key_);
  std::memcpy(c->main_, c->key_, sizeof c->key_);
  u.cache = c;
  u.cacheable = true;
  on_request_end(
      r, [](void* p) { static_cast<UpstreamCache*>(p)->release(); }, c);
  if (cache_condition(r, conf.bypass)) {
    c->status = kBypass;
    return kDeclined;
  }
  c->status = kMiss;
  return c->go();
}

int UpstreamCache::go() {
  Request* r = u->r;
  Found found = open();
  const bool may_update = (conf->use_stale & kFailUpdating) || stale_updating_;
  if (found == kOld && may_update && conf->background_update && !r->background) {
    Request* sr = nullptr;
    if (r->is_main()) r->preserve_body = true;
    if (subrequest(r, r->uri, r->args, &sr, nullptr, kSubClone | kSubBackground) != kOk) {
      u->finalize(500);
      return kDone;
    }
    sr->header_only = true;
    background_ = true;
    status = kStale;
    if (send()) return kDone;
    found = kMissing;
  }
  if (found == kBeingUpdated) {
    if (may_update && !r->background) {
      status = kUpdating;
      if (send()) return kDone;
    }
    found = kOld;
  }
  switch (found) {
    case kFresh:
      status = kHit;
      if (send()) return kDone;
      status = kMiss;
      break;
    case kOld:
      status = kExpired;
      break;
    case kScarce:
      u->cacheable = false;
      break;
    case kWait:
      return kDone;
    case kFailed:
      u->finalize(500);
      return kDone;
    case kError_:
      status = kHit;
      u->cacheable = false;
      u->finalize(error_);
      return kDone;
    default:
      break;
  }
  valid_sec_ = updating_sec_ = error_sec_ = 0;
  if (!in_range()) u->cacheable = false;
  return kDeclined;
}

// A range that begins far behind the start is not worth the whole.
bool UpstreamCache::in_range() const {
  const Header* range = u->r->headers_in.range;
  if (!range || conf->max_range_offset < 0) return true;
  Str text = range->value;
  if (conf->max_range_offset == 0) return false;
  if (text.size() < 7 || strncasecmp(text.data(), "bytes=", 6) != 0) return true;
  text.remove_prefix(6);
  while (text.starts_with(' ')) text.remove_prefix(1);
  if (text.starts_with('-')) return false;
  int64_t start = 0;
  std::from_chars(text.data(), text.data() + text.size(), start);
  return start < conf->max_range_offset;
}

// kOk: known; kBusy: asked for too rarely; kDeclined: new; kError.
int UpstreamCache::exists() {
  shm::CacheIndex& index = zone->index;
  const int64_t sec = now().wall_sec();
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (attempt) zone->make_room();
    IndexLock lock(index);
    shm::CacheNode* n = node_ ? node_ : index.find(key_);
    int rc = kDeclined;
    if (n) {
      if (!node_) ++n->uses, ++n->count;
      if (n->error && n->valid_sec >= sec)
        rc = kOk;
      else if (!n->error)
        rc = n->exists || n->uses >= conf->min_uses ? int{kOk} : int{kBusy};
    } else {
      n = index.add(key_);
      if (!n) continue;
      n->uses = 1;
      n->count = 1;
    }
    if (rc == kDeclined) {
      n->error = 0;
      n->exists = 0;
      n->valid_sec = 0;
    }
    n->expire = sec + zone->inactive / 1000;
    index.touch(n);
    node_ = n;
    exists_ = n->exists;
    error_ = n->error;
    return rc;
  }
  MOONPHASE_LOG(u->r, kLogAlert, 0, "could not allocate node in cache keys zone \"%s\"",
                zone->name.c_str());
  return kError;
}

UpstreamCache::Found UpstreamCache::open() {
  const int rc = exists();
  if (rc == kError) return kFailed;
  if (rc == kBusy) return kScarce;
  bool test;
  Found otherwise = kMissing;
  if (rc == kOk) {
    if (error_) return kError_;
    test = exists_;
  } else {
    {
      IndexLock lock(zone->index);
      test = zone->index.cold();
    }
    if (conf->min_uses > 1) {
      if (!test) return kScarce;
      otherwise = kScarce;
    }
  }
  if (!test) return take_lock(otherwise);
  const std::string name = zone->file_of(key_);
  fd_ = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd_ < 0 || fstat(fd_, &st) != 0) {
    const int err = errno;
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
    if (err == ENOENT || err == ENOTDIR) return take_lock(otherwise);
    MOONPHASE_LOG(u->r, kLogCrit, err, "open() \"%s\" failed", name.c_str());
    return kFailed;
  }
  u->r->pool->on_destroy(close_fd, reinterpret_cast<void*>(static_cast<intptr_t>(fd_)));
  length_ = st.st_size;
  return read_file();
}

UpstreamCache::Found UpstreamCache::read_file() {
  Request* r = u->r;
  const std::string name = zone->file_of(key_);
  const auto bad = [&](int level, const char* why) {
    MOONPHASE_LOG(r, level, 0, "cache file \"%s\" %s", name.c_str(), why);
    fd_ = -1;
    return kMissing;
  };
  if (pread(fd_, &header_, sizeof header_, 0) != static_cast<ssize_t>(sizeof header_))
    return bad(kLogCrit, "is too small");
  if (header_.version != kCacheVersion) return bad(kLogInfo, "version mismatch");
  const size_t size = header_.body_start;
  char* bytes = r->pool->bytes(size);
  if (size < sizeof header_ || pread(fd_, bytes, size, 0) != static_cast<ssize_t>(size))
    return bad(kLogCrit, "is too small");
  if (const char* why = check_cache_header(
          header_, Str(bytes + sizeof header_, size - sizeof header_), key_text_))
    return bad(kLogCrit, why);
  head_ = {bytes, size};
  if (header_.vary_size) {
    set_variant(Str(header_.vary, header_.vary_size));
    if (std::memcmp(variant_, header_.variant, sizeof variant_) != 0) return reopen();
  }
  valid_sec_ = header_.valid_sec;
  updating_sec_ = header_.updating_sec;
  error_sec_ = header_.error_sec;
  last_modified = header_.last_modified;
  etag = r->pool->copy(Str(header_.etag, header_.etag_size));
  const int64_t sec = now().wall_sec();
  IndexLock lock(zone->index);
  if (!node_->exists) {  // nobody has known of it
    node_->exists = 1;
    node_->size = zone->on_disk(length_);
    zone->index.bytes() += node_->size;
  }
  if (valid_sec_ >= sec) return kFresh;
  stale_updating_ = valid_sec_ + updating_sec_ >= sec;
  stale_error_ = valid_sec_ + error_sec_ >= sec;
  if (node_->updating) return kBeingUpdated;
  node_->updating = 1;
  updating_ = true;
  lock_time_ = node_->lock_time;
  return kOld;
}

// The request's own variant has a file of its own.
UpstreamCache::Found UpstreamCache::reopen() {
  if (secondary_) {
    MOONPHASE_LOG(u->r, kLogCrit, 0, "cache file \"%s\" has incorrect vary hash",
                  zone->file_of(key_).c_str());
    fd_ = -1;
    return kMissing;
  }
  release();
  fd_ = -1;
  secondary_ = true;
  std::memcpy(key_, variant_, sizeof key_);
  return open();
}

void UpstreamCache::set_variant(Str vary) {
  cache_variant(main_, vary, request_header, u->r, variant_);
}

UpstreamCache::Found UpstreamCache::take_lock(Found otherwise) {
  if (otherwise != kMissing || !conf->lock) return otherwise;
  const int64_t ms = now().monotonic_ms;
  {
    IndexLock lock(zone->index);
    if (!node_->updating || node_->lock_time <= ms) {
      node_->updating = 1;
      node_->lock_time = lock_time_ = ms + conf->lock_age;
      updating_ = true;
    }
  }
  if (updating_) return kMissing;
  if (!wait_until_) wait_until_ = ms + conf->lock_timeout;
  if (wait_until_ <= ms) {
    if (waited_) MOONPHASE_LOG(u->r, kLogInfo, 0, "cache lock timeout");
    return kScarce;
  }
  waited_ = true;
  timer_.data = this;
  timer_.fn = [](void* p) { static_cast<UpstreamCache*>(p)->wait_over(); };
  net::current_loop()->set_timer(&timer_,
                                 static_cast<uint64_t>(std::min(wait_until_ - ms, kLookAgain)));
  return kWait;
}

void UpstreamCache::wait_over() {
  Request* r = u->r;
  http::Connection* c = r->conn;
  c->current = r;
  if (go() == kDeclined) u->ask();
  run_posted(c);
}

// --- from the file ---

// False: the file is of no use, and nothing has changed.
bool UpstreamCache::send() {
  Request* r = u->r;
  if (fd_ < 0) return false;
  const UpstreamHead before = u->head;
  const Buf buffer = u->head_buf;
  UpstreamState* state = u->state;
  u->state = r->pool->make<UpstreamState>();
  u->head = UpstreamHead();
  u->head_buf.start = u->head_buf.pos = const_cast<char*>(head_.data()) + header_.header_start;
  u->head_buf.last = u->head_buf.end = const_cast<char*>(head_.data()) + head_.size();
  sending = true;
  u->protocol->restart(*u);
  const bool keepalive = u->keepalive;
  const int rc = u->protocol->process_header(*u);
  u->state = state;
  u->keepalive = keepalive;
  if (rc != kOk) {
    MOONPHASE_LOG(r, kLogErr, 0, "cache file \"%s\" contains invalid header",
                  zone->file_of(key_).c_str());
    u->head = before;
    u->head_buf = buffer;
    sending = false;
    u->protocol->restart(*u);
    return false;
  }
  u->cacheable = false;
  u->stop();
  if (!background_) release();
  MOONPHASE_LOG(r, kLogDebug, 0, "http file cache send: %s", zone->file_of(key_).c_str());
  if (!u->copy_head()) return true;
  r->disable_not_modified = false;
  int sent = http::send_header(r);
  if (sent == kOk && !r->header_only) {
    Buf* b = make_buf(*r->pool);
    b->file = r->pool->make<File>(fd_, r->pool->copy(zone->file_of(key_)));
    b->file_pos = static_cast<off_t>(head_.size());
    b->file_last = length_;
    b->in_file = b->file_last > b->file_pos;
    b->last_buf = r->is_main();
    b->last_in_chain = true;
    b->sync = !b->last_buf && !b->in_file;
    Chain out{b};
    sent = http::output(r, &out);
  }
  finalize_request(r, sent);
  return true;
}

bool UpstreamCache::stale_instead(uint32_t failure) {
  if (status != kExpired || fd_ < 0) return false;
  if (!(conf->use_stale & failure) && !stale_error_) return false;
  status = kStale;
  return send();
}

bool UpstreamCache::instead_of_head() {
  static constexpr std::pair<int, uint32_t> kStatuses[] = {
      {500, kFail500}, {502, kFail502}, {503, kFail503}, {504, kFail504},
      {403, kFail403}, {404, kFail404}, {429, kFail429}};
  if (status != kExpired || fd_ < 0) return false;
  for (const auto& [code, failure] : kStatuses)
    if (u->head.status == code) return (conf->use_stale & failure) && stale_instead(failure);
  if (u->head.status != 304 || !conf->revalidate) return false;
  const int64_t sec = now().wall_sec();
  int64_t valid = valid_sec_, updating = updating_sec_, error = error_sec_;
  if (valid == 0) {
    // As long as the answer that it confirms: "HTTP/1.1 200".
    int code = 200;
    const Str head = head_.substr(header_.header_start);
    if (const size_t blank = head.find(' '); blank != Str::npos)
      std::from_chars(head.data() + blank + 1, head.data() + head.size(), code);
    if (const int64_t ms = valid_for(code)) valid = sec + ms / 1000;
  }
  if (valid) {
    header_.valid_sec = valid;
    header_.updating_sec = updating;
    header_.error_sec = error;
    header_.date = sec;
    rewrite_header();
  }
  status = kRevalidated;
  return send();
}

void UpstreamCache::rewrite_header() {
  const std::string name = zone->file_of(key_);
  const int fd = ::open(name.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  CacheHeader there{};
  struct stat now_there, ours;
  // Only if it is still the file that was read.
  const bool same = fstat(fd, &now_there) == 0 && fstat(fd_, &ours) == 0 &&
                    now_there.st_ino == ours.st_ino &&
                    pread(fd, &there, sizeof there, 0) == static_cast<ssize_t>(sizeof there) &&
                    there.crc32 == header_.crc32;
  if (same && pwrite(fd, &header_, sizeof header_, 0) != static_cast<ssize_t>(sizeof header_))
    MOONPHASE_LOG(u->r, kLogCrit, errno, "pwrite() \"%s\" failed", name.c_str());
  ::close(fd);
}

// --- variables ---

namespace {

int status_variable(Request* r, VarValue* v, Str, uintptr_t) {
  static constexpr Str kNames[] = {"",      "MISS",     "BYPASS",      "EXPIRED",
                                   "STALE", "UPDATING", "REVALIDATED", "HIT"};
  const Upstream* u = Upstream::of(r);
  if (!u || !u->cache || u->cache->status == UpstreamCache::kNone) return not_found(v);
  return found(v, kNames[u->cache->status]);
}

const UpstreamCache* to_revalidate(const Request* r) {
  const Upstream* u = Upstream::of(r);
  if (!u || !u->cache || !u->cache->conf->revalidate) return nullptr;
  return u->cache->status == UpstreamCache::kExpired ? u->cache : nullptr;
}

int modified_variable(Request* r, VarValue* v, Str, uintptr_t) {
  const UpstreamCache* c = to_revalidate(r);
  if (!c || c->last_modified == -1) return not_found(v);
  char* p = r->pool->bytes(64);
  return found(v, {p, format_http_date(p, c->last_modified)});
}

int etag_variable(Request* r, VarValue* v, Str, uintptr_t) {
  const UpstreamCache* c = to_revalidate(r);
  return c && !c->etag.empty() ? found(v, c->etag) : not_found(v);
}

const VariableDef kRows[] = {
    {"upstream_cache_status", status_variable, nullptr, 0, kVarNoCacheable},
    {"upstream_cache_last_modified", modified_variable, nullptr, 0, kVarNoCacheable},
    {"upstream_cache_etag", etag_variable, nullptr, 0, kVarNoCacheable},
    {nullptr, nullptr, nullptr, 0, 0},
};

}  // namespace

void register_upstream_cache() { add_variables(kRows); }

}  // namespace moonphase::engine
