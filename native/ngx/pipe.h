// A process of ngx.pipe: its child, our ends of its pipes, and the coroutines that wait for them.
// The FFI functions of pipe_ffi.cc are its only users.
#pragma once

#include <memory>
#include <string>

#include "engine/pending.h"
#include "engine/sockets/receive.h"
#include "net/child.h"
#include "net/pipe_end.h"
#include "ngx/ffi.h"

namespace moonphase::ngx {

class Pipe;

// What lua-resty-core's ngx.pipe has as its object; timeouts in ms, 0: none.
struct PipeProc {
  int pid;
  uintptr_t write_timeout;
  uintptr_t stdout_read_timeout;
  uintptr_t stderr_read_timeout;
  uintptr_t wait_timeout;
  Pipe* pipe;
};

enum class PipeError : uint8_t { kNone, kClosed, kSystem, kTimeout, kAborted };

// A coroutine that reads, writes or waits; at most one of each.
class PipeWait : public engine::Pending {
 public:
  explicit PipeWait(Pipe* pipe);
  PipeWait(const PipeWait&) = delete;
  PipeWait& operator=(const PipeWait&) = delete;
  bool busy() const { return waiting_; }
  // The running coroutine waits; its Lua yields next. `timeout` in ms, 0: for ever.
  void begin(LuaCtx* ctx, uint64_t timeout, const char* what);
  void cancel() override;

 protected:
  ~PipeWait() = default;
  virtual void timed_out() = 0;
  virtual void stopped() = 0;  // no event is wanted any more
  void again();                // something came, but not enough: the time begins anew
  void end();                  // wakes, in the event's turn
  void end_later();            // the same from inside a call of Lua's
  void resumed();              // from results(): the coroutine goes on. The pipe may be gone then
  Pipe* pipe_;

 private:
  static void expired(void* self);
  net::Timer timer_{};
  uint64_t timeout_ = 0;
  const char* what_ = "";
  bool waiting_ = false;
};

// One of the three pipes.
class PipeSide : public PipeWait {
 public:
  PipeSide(Pipe* pipe, int events, const char* cleanup);
  void adopt(int fd) { fd_ = fd; }
  // False: it is closed.
  bool open();
  // kClosed or kAborted for who waits.
  void close(PipeError why);
  PipeError error = PipeError::kNone;
  int system_error = 0;

  int results(lua_State* L) override;
  void cancel() override;

 protected:
  // kOk: done, or failed by `error`; kAgain: more must come.
  virtual Rc advance() = 0;
  void timed_out() override { error = PipeError::kTimeout; }
  void stopped() override;
  Rc failed();
  bool watch();
  net::PipeEnd* end_ = nullptr;

 private:
  friend class Pipe;
  static void ready(void* self);
  int fd_ = -1;  // until it is used
  const int events_;
  const char* const cleanup_;
};

class PipeReader final : public PipeSide {
 public:
  PipeReader(Pipe* pipe, const char* cleanup);
  // As PipeSide::advance, for the caller; on kAgain it waits by begin().
  Rc read(engine::Receiver::Mode mode, size_t length);
  Str result() const {
    return error == PipeError::kNone ? receiver_.result() : receiver_.partial();
  }
  void taken() { receiver_.drop(); }
  bool used() const { return used_; }
  void cancel() override;

 private:
  Rc advance() override;
  engine::Receiver receiver_;
  std::unique_ptr<char[]> buffer_;
  const char *pos_ = nullptr, *last_ = nullptr;
  std::string kept_;  // of a read that was given up: the next one begins with it
  bool eof_ = false, used_ = false;
};

class PipeWriter final : public PipeSide {
 public:
  explicit PipeWriter(Pipe* pipe);
  Rc write(Str data);
  size_t length() const { return length_; }  // of the last write

 private:
  Rc advance() override;
  std::string held_;
  size_t sent_ = 0, length_ = 0;
};

// proc:wait().
class PipeEndWait final : public PipeWait {
 public:
  explicit PipeEndWait(Pipe* pipe) : PipeWait(pipe) {}
  void ended() { end(); }
  void aborted();
  int results(lua_State* L) override;
  void cancel() override;

 private:
  void timed_out() override { timeout_ = true; }
  void stopped() override {}
  bool timeout_ = false, aborted_ = false;
};

class Pipe final : public engine::Lingering {
 public:
  // Null with a text in err.
  static Pipe* spawn(Request* r, PipeProc* proc, const net::ChildSpec& spec, size_t buffer_size,
                     unsigned char* err, size_t* errlen);
  // The object of Lua goes, or the request that started it: what still runs is killed.
  void destroy();

  PipeReader& reader(bool from_stderr) { return from_stderr ? stderr_ : stdout_; }
  PipeWriter& writer() { return stdin_; }
  PipeEndWait& wait() { return wait_; }
  net::Child& child() { return *child_; }
  bool dead() const { return child_->ended(); }
  // Nothing is left to read or to wait for: its end was told to Lua.
  bool closed() const { return closed_; }
  void close();
  bool merge_stderr() const { return merge_stderr_; }
  // How the child has ended: "exit", "signal" or "unknown".
  const char* reason(int* status) const;

  const Log& log() const { return gen_->plan->error_log; }
  bool debug() const { return log().enabled(kLogDebug); }
  PipeProc* proc() const { return proc_; }
  size_t buffer_size() const { return buffer_size_; }

 private:
  friend class PipeWait;
  Pipe(engine::Generation* g, PipeProc* proc, net::Child* child, bool merge, size_t buffer_size);
  ~Pipe() override;
  void drop() override { delete this; }
  static void child_ended(void* self);
  void free_if_unused();

  engine::Generation* gen_;
  PipeProc* proc_;  // null: destroyed
  net::Child* child_;
  Arena::Cleanup* cleanup_ = nullptr;  // of the request that started it
  const int pid_;
  const bool merge_stderr_;
  const size_t buffer_size_;
  bool closed_ = false;
  int waiting_ = 0;  // coroutines that have not gone on yet
  PipeWriter stdin_{this};
  PipeReader stdout_{this, "lua pipe proc read stdout cleanup"};
  PipeReader stderr_{this, "lua pipe proc read stderr cleanup"};
  PipeEndWait wait_{this};
};

#define PIPE_DEBUG(pipe, err, ...)                                                 \
  do {                                                                             \
    if ((pipe)->debug())                                                           \
      ::moonphase::log_write((pipe)->log(), nullptr, kLogDebug, err, __VA_ARGS__); \
  } while (0)

}  // namespace moonphase::ngx
