// proxy_cache for one request: whether its answer is kept, waits for or comes from the cache. In
// the request's arena; it holds a node of the index until the request ends or the file is there.
#pragma once

#include "engine/upstream/cache_file.h"
#include "engine/upstream/cache_zone.h"
#include "engine/upstream/upstream.h"

namespace moonphase::engine {

struct UpstreamCache {
  enum Status : uint8_t { kNone, kMiss, kBypass, kExpired, kStale, kUpdating, kRevalidated, kHit };

  // Before the request is sent. kDeclined: the server is asked; kDone: it has been answered, has
  // ended or waits (and Upstream::ask() follows).
  static int look(Upstream& u);
  // The server has failed: the answer that is there is sent instead. False: there is none.
  bool stale_instead(uint32_t failure);
  // The head says that the answer that is there is still good, or that it may stand in.
  bool instead_of_head();
  // The header lines of a server's answer that say how long it is good.
  void header_line(const Header& h);
  // The head is complete: is the answer kept?
  void decide();
  void keep(char* from, char* to);  // some of the body
  void complete();                  // all of it is there
  void end(int rc);                 // the request's upstream is over

  Upstream* u = nullptr;
  const CacheConf* conf = nullptr;
  CacheZone* zone = nullptr;
  Status status = kNone;
  bool sending = false;  // from the file
  int64_t last_modified = -1;
  Str etag;

 private:
  enum Found : uint8_t { kFresh, kOld, kBeingUpdated, kScarce, kMissing, kWait, kFailed, kError_ };
  static CacheZone* zone_of(Upstream& u, const CacheConf& conf, Str* name);
  int go();
  Found open();
  Found read_file();
  Found reopen();
  Found take_lock(Found otherwise);
  int exists();
  bool in_range() const;
  void wait_over();
  bool send();
  void set_variant(Str vary);
  void drop_file();
  void release();
  int64_t valid_for(int code) const;
  void rewrite_header();

  unsigned char key_[shm::kCacheKey]{}, main_[shm::kCacheKey]{}, variant_[shm::kCacheKey]{};
  Str key_text_;
  shm::CacheNode* node_ = nullptr;
  File* file_ = nullptr;  // that is being written
  off_t written_ = 0;
  int fd_ = -1;  // that is read
  off_t length_ = 0;
  CacheHeader header_{};
  Str head_;  // what was read of it, all before the body
  Str vary_;
  int64_t valid_sec_ = 0, updating_sec_ = 0, error_sec_ = 0;
  int error_ = 0;  // a status that stands for an answer
  bool accel_ = false, exists_ = false, updating_ = false, background_ = false, secondary_ = false;
  bool stale_updating_ = false, stale_error_ = false, waited_ = false;
  int64_t lock_time_ = 0, wait_until_ = 0;
  net::Timer timer_{};
};

// proxy_cache_bypass, proxy_no_cache: a value is neither empty nor "0".
bool cache_condition(Request* r, const std::vector<Complex>& values);
void register_upstream_cache();  // $upstream_cache_status & co.

}  // namespace moonphase::engine
