#include "shm/watch.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <csignal>
#include <system_error>

namespace moonphase::shm {

namespace {

long futex(uint32_t* word, int operation, uint32_t value) {
  return syscall(SYS_futex, word, operation, value, nullptr, nullptr, 0);
}

}  // namespace

Watch::Watch(Zone* zone, void (*wake)(void* data), void* data)
    : zone_(zone), wake_(wake), data_(data) {
  zone_registry_retain(zone_);
}

const char* Watch::start() {
  if (const char* error = zone_->dict.count_subscriber(1)) return error;
  position_ = zone_->dict.changes_written();
  seen_ = __atomic_load_n(&zone_->dict.change_log()->changed, __ATOMIC_SEQ_CST);
  // Signals are for the process's other threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const char* error = nullptr;
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    zone_->dict.count_subscriber(-1);
    error = "no thread";
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return error;
}

Watch::~Watch() {
  if (thread_.joinable()) {
    stop_ = true;
    ChangeLog* log = zone_->dict.change_log();
    __atomic_add_fetch(&log->changed, 1, __ATOMIC_SEQ_CST);
    futex(&log->changed, FUTEX_WAKE, INT_MAX);
    thread_.join();
    zone_->dict.count_subscriber(-1);
  }
  zone_registry_release(zone_);
}

void Watch::run() {
  ChangeLog* log = zone_->dict.change_log();
  while (!stop_) {
    uint32_t now = __atomic_load_n(&log->changed, __ATOMIC_SEQ_CST);
    if (now != seen_) {
      seen_ = now;
      wake_(data_);
      continue;
    }
    __atomic_store_n(&log->sleeping, 1, __ATOMIC_SEQ_CST);
    futex(&log->changed, FUTEX_WAIT, now);
  }
}

void Watch::read(void (*each)(void* owner, Change change, Str key), void* owner) {
  zone_->dict.read_changes(&position_, each, owner);
}

}  // namespace moonphase::shm
