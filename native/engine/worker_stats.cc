#include "engine/worker_stats.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/random.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace moonphase::engine {

namespace {

constexpr int kSlots = 512;

bool alive(int pid) { return kill(pid, 0) == 0 || errno != ESRCH; }

int64_t load(const int64_t& n) { return __atomic_load_n(&n, __ATOMIC_RELAXED); }

}  // namespace

// Zeroed memory is a page without processes.
struct alignas(64) WorkerStats::Slot {
  std::atomic<int> pid;  // 0: free
  http::Stats stats;
};
struct WorkerStats::Page {
  // Of processes whose slots others have taken.
  std::atomic<int64_t> accepted, handled, requests;
  char secret[32];
  Slot slots[kSlots];
};

bool WorkerStats::create(shm::Segment* segment, std::string* error) {
  if (!shm::Segment::create("moonphase statistics", sizeof(Page), segment, error)) return false;
  char* secret = reinterpret_cast<Page*>(segment->base())->secret;
  if (getrandom(secret, sizeof(Page::secret), 0) == sizeof(Page::secret)) return true;
  *error = "getrandom() failed";
  return false;
}

WorkerStats::WorkerStats(int fd) {
  if (fd < 0) return;
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  std::string ignored;
  if (copy < 0 || !shm::Segment::attach(copy, &segment_, &ignored) ||
      segment_.size() < sizeof(Page))
    return;
  page_ = reinterpret_cast<Page*>(segment_.base());
  for (Slot& slot : page_->slots) {
    if (!claim(&slot)) continue;
    own_ = &slot.stats;
    return;
  }
}

bool WorkerStats::claim(Slot* slot) {
  int before = slot->pid.load();
  if (before && alive(before)) return false;
  if (!slot->pid.compare_exchange_strong(before, getpid())) return false;
  page_->accepted += slot->stats.accepted;
  page_->handled += slot->stats.handled;
  page_->requests += slot->stats.requests;
  slot->stats = {};
  return true;
}

Str WorkerStats::secret() const { return page_ ? Str(page_->secret, sizeof page_->secret) : Str(); }

http::Stats WorkerStats::sum() const {
  if (!page_) return local_;
  http::Stats all = own_ == &local_ ? local_ : http::Stats{};
  all.accepted += page_->accepted;
  all.handled += page_->handled;
  all.requests += page_->requests;
  for (const Slot& slot : page_->slots) {
    int pid = slot.pid.load();
    if (!pid) break;  // slots are taken in order
    const http::Stats& s = slot.stats;
    all.accepted += load(s.accepted);
    all.handled += load(s.handled);
    all.requests += load(s.requests);
    if (pid != getpid() && !alive(pid)) continue;
    all.active += load(s.active);
    all.reading += load(s.reading);
    all.writing += load(s.writing);
    all.waiting += load(s.waiting);
  }
  return all;
}

}  // namespace moonphase::engine
