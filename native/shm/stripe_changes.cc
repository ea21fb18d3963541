// News of changes for subscribers in any process: a ring of records, and a futex that their threads
// sleep on.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>

#include "shm/stripe.h"

namespace moonphase::shm {

namespace {

// In the ring, at a multiple of 8; the key follows. A record never wraps: what is left at the end
// is filled by one of kind 0.
struct Record {
  uint32_t size;  // with this header, a multiple of 8
  uint16_t key_len;
  uint8_t kind;
  uint8_t reserved;
};
static_assert(sizeof(Record) == 8);

// A longer key would push too much else out.
constexpr size_t kLongestKey = 8192;

bool gone(pid_t pid) { return kill(pid, 0) != 0 && errno == ESRCH; }

}  // namespace

void Stripe::tell() {
  ChangeLog& log = header_->log;
  __atomic_add_fetch(&log.changed, 1, __ATOMIC_SEQ_CST);
  if (__atomic_exchange_n(&log.sleeping, 0, __ATOMIC_SEQ_CST) != 0)
    syscall(SYS_futex, &log.changed, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void Stripe::write_change(Change change, Str key) {
  if (key.size() > kLongestKey) {
    lose_changes();
    return;
  }
  ChangeLog& log = header_->log;
  char* ring = file_ + kRingAt;
  auto room_for = [&](uint64_t size) {
    uint64_t kept = log.kept_from;
    while (log.written + size - kept > kRingSize)
      kept += reinterpret_cast<Record*>(ring + kept % kRingSize)->size;
    log.kept_from = kept;
    Journal::fence();
  };
  auto size = static_cast<uint32_t>(align_up(sizeof(Record) + key.size(), 8));
  uint64_t left = kRingSize - log.written % kRingSize;
  if (left < size) {
    room_for(left);
    *reinterpret_cast<Record*>(ring + log.written % kRingSize) = {static_cast<uint32_t>(left), 0, 0,
                                                                  0};
    Journal::fence();
    log.written += left;
  }
  room_for(size);
  char* at = ring + log.written % kRingSize;
  *reinterpret_cast<Record*>(at) = {size, static_cast<uint16_t>(key.size()),
                                    static_cast<uint8_t>(change), 0};
  if (!key.empty()) std::memcpy(at + sizeof(Record), key.data(), key.size());
  Journal::fence();
  log.written += size;
  tell();
}

// Every reader is told that anything may have changed: after a death, since nobody knows what the
// dead one had not written yet.
void Stripe::lose_changes() {
  ChangeLog& log = header_->log;
  uint64_t from = align_up(log.written + 8, kRingSize);
  log.kept_from = from;
  Journal::fence();
  log.written = from;
  tell();
}

const char* Stripe::count_subscriber(int by) {
  Guard guard(*this);
  ChangeLog& log = header_->log;
  auto self = static_cast<int32_t>(getpid());
  SubscriberSlot *mine = nullptr, *unused = nullptr;
  uint32_t others = 0;
  for (SubscriberSlot& slot : log.slots) {
    if (slot.count > 0 && slot.pid != self && gone(slot.pid)) slot.count = 0;
    if (slot.count == 0) {
      if (unused == nullptr) unused = &slot;
    } else if (slot.pid == self) {
      mine = &slot;
    } else {
      others += slot.count;
    }
  }
  const char* error = nullptr;
  if (mine == nullptr && by > 0) {
    mine = unused;
    if (mine != nullptr) mine->pid = self;
  }
  if (mine != nullptr) {
    mine->count += static_cast<uint32_t>(by);
    others += mine->count;
  } else if (by > 0) {
    error = "too many processes subscribe to this dictionary";
  }
  log.subscribers = others;
  return error;
}

uint64_t Stripe::changes_written() {
  Guard guard(*this);
  return header_->log.written;
}

void Stripe::read_changes(uint64_t* position, void (*each)(void* owner, Change change, Str key),
                          void* owner) {
  Guard guard(*this);
  const ChangeLog& log = header_->log;
  if (*position < log.kept_from) {
    each(owner, Change::kLost, {});
    *position = log.kept_from;
  }
  while (*position < log.written) {
    const char* at = file_ + kRingAt + *position % kRingSize;
    auto* record = reinterpret_cast<const Record*>(at);
    if (record->kind != 0)
      each(owner, static_cast<Change>(record->kind), {at + sizeof(Record), record->key_len});
    *position += record->size;
  }
}

}  // namespace moonphase::shm
