// A lock that several processes share and that survives the death of whoever holds it. A thread
// holds one at a time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace moonphase::shm {

// 0, or the holder's thread id and the kernel's bits FUTEX_WAITERS and FUTEX_OWNER_DIED.
struct RobustLock {
  uint32_t word = 0;
};

// True: the last owner died inside; the caller, which holds the lock, repairs what it left. If it
// dies before it unlocks, the next one is told again.
bool robust_lock(RobustLock* lock);
void robust_unlock(RobustLock* lock);

// The same for locks that nobody sleeps for. Takes one of `count`, a power of 2, that stand
// `stride` bytes apart, or finds the few that it tries taken (null). That a holder died says
// nothing here.
RobustLock* robust_take_one(RobustLock* first, size_t stride, unsigned count);
void robust_leave(RobustLock* lock);
// Returns at a moment when nobody living holds it.
void robust_await(const RobustLock* lock);

}  // namespace moonphase::shm
