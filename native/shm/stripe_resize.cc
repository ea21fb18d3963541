// Another size for a zone that is in use: a second region is filled with copies of the entries,
// then named in the header by one store. Who dies before that store leaves the zone as it was.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "shm/region.h"
#include "shm/stripe.h"

namespace moonphase::shm {

namespace {

char* map_region(int fd, const Layout& l) {
  void* p = mmap(nullptr, l.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(l.at));
  return p == MAP_FAILED ? nullptr : static_cast<char*>(p);
}

// In front of the region that is used now, or else behind it.
uint64_t place(const Layout& now, uint64_t size) {
  return now.at - kRegionsAt >= size ? kRegionsAt : now.at + now.size;
}

bool extend(int fd, uint64_t from, uint64_t to, bool commit) {
  struct stat st;
  if (fstat(fd, &st) != 0) return false;
  if (static_cast<uint64_t>(st.st_size) < to && ftruncate(fd, static_cast<off_t>(to)) != 0)
    return false;
  // By name it lies in /dev/shm, which may be small: a fault later would kill the process.
  return !commit ||
         posix_fallocate(fd, static_cast<off_t>(from), static_cast<off_t>(to - from)) == 0;
}

}  // namespace

void Stripe::follow() {
  uint32_t generation = header_->generation;
  const Layout& l = header_->layouts[generation & 1];
  char* old = extra_ > 0 ? base_ : nullptr;
  uint64_t old_size = extra_;
  if (l.at + l.size <= mapped_) {
    use(file_ + l.at, l);
    extra_ = 0;
  } else {
    char* region = map_region(fd_, l);
    if (region == nullptr) {
      std::fprintf(stderr, "shared memory: mmap() of a resized zone: %s\n", std::strerror(errno));
      std::abort();
    }
    use(region, l);
    extra_ = l.size;
  }
  if (old != nullptr) munmap(old, old_size);
  // Other threads of this process that have entered a lane look at it.
  __atomic_store_n(&generation_, generation, __ATOMIC_RELEASE);
}

void Stripe::unmap() {
  if (extra_ > 0) munmap(base_, extra_);
  extra_ = 0;
}

// Memory that no region uses reads as zeros again.
void Stripe::give_back(uint64_t from, uint64_t to) {
  if (from >= to) return;
  fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(from),
            static_cast<off_t>(to - from));
}

const char* Stripe::resize(uint64_t capacity, int64_t now) {
  if (fd_ < 0) return "not resizable";
  Layout next = plan_region(capacity, header_->lean != 0);
  if (next.size == 0) return "too large";
  Guard guard(*this);
  const Layout& current = header_->layouts[generation_ & 1];
  if (current.capacity == capacity) return nullptr;
  next.at = place(current, next.size);
  uint64_t end = next.at + next.size;
  // What a resize that was killed may have left.
  struct stat st;
  if (fstat(fd_, &st) != 0) return "no memory";
  give_back(kRegionsAt, current.at);
  give_back(current.at + current.size, static_cast<uint64_t>(st.st_size));
  if (!extend(fd_, next.at, end, header_->lean != 0)) return "no memory";
  char* region = map_region(fd_, next);
  if (region == nullptr) return "no memory";

  Stripe fresh(file_, mapped_, fd_);
  fresh.use(region, next);
  fresh.format();
  bool fits = fresh.copy_entries(*this, now);
  munmap(region, next.size);
  if (!fits) {
    give_back(next.at, end);
    return "no memory";
  }
  uint64_t old_at = current.at, old_end = current.at + current.size;
  header_->layouts[(generation_ + 1) & 1] = next;
  Journal::fence();
  __atomic_store_n(&header_->generation, generation_ + 1, __ATOMIC_RELEASE);
  Journal::fence();
  follow();
  give_back(old_at, old_end);
  return nullptr;
}

// The entries of `from` that have not expired, in the same order. False: they do not fit.
bool Stripe::copy_entries(const Stripe& from, int64_t now) {
  for (Ref r = from.state_->oldest; r != 0; r = from.entry(r)->newer) {
    Entry* e = from.entry(r);
    if (expired(e, now)) continue;
    Str key{e->key(), e->key_len()};
    size_t size = kNginxEntryHeader + key.size();
    size = is_list(e) ? align_up(size + kNginxListHead, sizeof(void*)) : size + e->value_len;
    Ref to = slab_.alloc(size);
    if (to == 0) return false;
    Entry* copy = link(to, key, e->hash, e->type(), e->value_len, e->expires, e->user_flags);
    if (!is_list(e)) {
      std::memcpy(copy->value(), e->value(), e->value_len);
      log_.commit();
      continue;
    }
    ListHead* head = list(copy);
    *head = {};
    log_.commit();
    for (Ref at = list(e)->first; at != 0; at = from.node(at)->next) {
      ListNode* n = from.node(at);
      Ref made = slab_.alloc(kNginxNodeHeader + n->value_len);
      if (made == 0) return false;
      ListNode* m = node(made);
      m->next = 0;
      m->prev = head->last;
      m->value_len = n->value_len;
      m->type = n->type;
      std::memcpy(m->value(), n->value(), n->value_len);
      (head->last != 0 ? node(head->last)->next : head->first) = made;
      head->last = made;
      log_.commit();
    }
  }
  return true;
}

Stats Stripe::stats() {
  Guard guard(*this);
  const Counters& c = header_->counters;
  Stats s;
  s.hits = header_->hits;
  s.misses = header_->misses;
  for (const Lane& lane : header_->lanes) {
    s.hits += lane.hits;
    s.misses += lane.misses;
  }
  s.evictions = c.evictions;
  s.expirations = c.expirations;
  s.entries = state_->entries;
  s.bytes = uint64_t{page_count_ - state_->free_pages} * kPageSize;
  s.capacity = header_->layouts[generation_ & 1].capacity;
  s.free_space = uint64_t{state_->free_pages} * kPageSize;
  s.recoveries = header_->recoveries;
  return s;
}

}  // namespace moonphase::shm
