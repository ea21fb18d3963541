// A lock that several processes share and that survives the death of whoever holds it.
#pragma once

#include <pthread.h>

namespace moonphase::shm {

void robust_init(pthread_mutex_t* m);
// True: the last owner died inside; the caller repairs what it left, then calls robust_repaired,
// and holds the lock.
bool robust_lock(pthread_mutex_t* m);
void robust_repaired(pthread_mutex_t* m);
void robust_unlock(pthread_mutex_t* m);

}  // namespace moonphase::shm
