// What all workers count together (stub_status): each writes to a slot of its own in memory that
// the primary made, so that counting costs no atomic operation.
#pragma once

#include "http/connection.h"
#include "shm/segment.h"

namespace moonphase::engine {

class WorkerStats {
 public:
  // What the primary makes and hands to its workers.
  static bool create(shm::Segment* segment, std::string* error);

  WorkerStats() = default;
  WorkerStats(const WorkerStats&) = delete;
  WorkerStats& operator=(const WorkerStats&) = delete;
  // Takes a slot of the primary's memory (`fd` stays the caller's), or counts for this process
  // alone: fd -1, or no slot is left.
  explicit WorkerStats(int fd);

  http::Stats& own() { return *own_; }
  // Random bytes that all workers of the primary know; empty: there is none.
  Str secret() const;
  // Of all workers; connections of processes that have ended don't count as open ones.
  http::Stats sum() const;

 private:
  struct Slot;
  struct Page;
  bool claim(Slot* slot);

  http::Stats local_;
  http::Stats* own_ = &local_;
  shm::Segment segment_;
  Page* page_ = nullptr;
};

}  // namespace moonphase::engine
