#include "ngx/pipe.h"

#include <sys/wait.h>

#include <cerrno>
#include <csignal>

#include "net/stream.h"

namespace moonphase::ngx {

// --- waiting ---

PipeWait::PipeWait(Pipe* pipe) : pipe_(pipe) {
  timer_.fn = expired;
  timer_.data = this;
}

void PipeWait::begin(LuaCtx* ctx, uint64_t timeout, const char* what) {
  waiting_ = true;
  ++pipe_->waiting_;
  timeout_ = timeout;
  what_ = what;
  engine::wait_later(ctx, this);
  again();
}

void PipeWait::again() {
  PipeProc* proc = pipe_->proc();
  if (timeout_ > 0) {
    net::current_loop()->set_timer(&timer_, timeout_);
    const char* doing = *what_ == 'r'                      ? "reading"
                        : *what_ == 'w' && what_[1] == 'r' ? "writing"
                                                           : "waiting";
    PIPE_DEBUG(pipe_, 0, "lua pipe add timer for %s: %d(ms) process:%" PTR " pid:%d", doing,
               static_cast<int>(timeout_), ptr(proc), pipe_->pid_);
  }
  PIPE_DEBUG(pipe_, 0, "lua pipe %s yielding process:%" PTR " pid:%d", what_, ptr(proc),
             pipe_->pid_);
}

void PipeWait::expired(void* self) {
  auto* w = static_cast<PipeWait*>(self);
  w->timed_out();
  w->end();
}

void PipeWait::end() {
  net::current_loop()->clear_timer(&timer_);
  stopped();
  engine::wake(this);
}

void PipeWait::end_later() {
  net::current_loop()->clear_timer(&timer_);
  stopped();
  engine::wake_later(this);
}

void PipeWait::resumed() {
  waiting_ = false;
  --pipe_->waiting_;
  pipe_->free_if_unused();
}

void PipeWait::cancel() {
  net::current_loop()->clear_timer(&timer_);
  stopped();
  resumed();
}

// --- one pipe ---

PipeSide::PipeSide(Pipe* pipe, int events, const char* cleanup)
    : PipeWait(pipe), events_(events), cleanup_(cleanup) {}

bool PipeSide::open() {
  if (!end_) {
    if (fd_ < 0) return false;
    end_ = net::PipeEnd::open(net::current_loop(), fd_, ready, this);
    fd_ = -1;
  }
  error = PipeError::kNone;
  return true;
}

void PipeSide::close(PipeError why) {
  if (!open()) return;
  if (busy()) {
    PIPE_DEBUG(pipe_, 0, "lua pipe abort blocking operation pipe_ctx:%" PTR, ptr(this));
    error = why;
    end_later();
  }
  end_->close();
  end_ = nullptr;
}

void PipeSide::stopped() {
  if (end_) end_->watch(0);
}

bool PipeSide::watch() { return end_->watch(events_); }

Rc PipeSide::failed() {
  system_error = end_->error();
  error = system_error == EPIPE ? PipeError::kClosed : PipeError::kSystem;
  return kOk;
}

void PipeSide::ready(void* self) {
  auto* side = static_cast<PipeSide*>(self);
  if (!side->busy()) return;
  if (side->advance() == kAgain) {
    side->again();
    return;
  }
  side->end();
}

// Lua asks by ngx_http_lua_ffi_pipe_get_…_result next.
int PipeSide::results(lua_State*) {
  resumed();
  return 0;
}

void PipeSide::cancel() {
  PIPE_DEBUG(pipe_, 0, "%s", cleanup_);
  PipeWait::cancel();
}

// --- reading ---

PipeReader::PipeReader(Pipe* pipe, const char* cleanup) : PipeSide(pipe, UV_READABLE, cleanup) {}

Rc PipeReader::read(engine::Receiver::Mode mode, size_t length) {
  if (!buffer_) buffer_.reset(new char[pipe_->buffer_size()]);
  used_ = true;
  if (!kept_.empty()) {
    // Rare: what a coroutine had read when it was killed.
    kept_.append(pos_, last_);
    buffer_.reset(new char[std::max(kept_.size(), pipe_->buffer_size())]);
    std::memcpy(buffer_.get(), kept_.data(), kept_.size());
    pos_ = buffer_.get();
    last_ = pos_ + kept_.size();
    kept_.clear();
  }
  receiver_.start(mode, length);
  Rc rc = advance();
  if (rc == kAgain && !watch()) {
    system_error = EBADF;
    error = PipeError::kSystem;
    return kOk;
  }
  return rc;
}

Rc PipeReader::advance() {
  for (;;) {
    if (pos_ < last_ && receiver_.feed(&pos_, last_) == kOk) {
      PIPE_DEBUG(pipe_, 0, "lua pipe read done pipe:%" PTR, ptr(this));
      return kOk;
    }
    if (eof_) {
      if (!receiver_.complete_at_eof()) error = PipeError::kClosed;
      return kOk;
    }
    ssize_t n = end_->read(buffer_.get(), pipe_->buffer_size());
    if (n == net::kIoAgain) return kAgain;
    if (n == net::kIoError) {
      PIPE_DEBUG(pipe_, end_->error(), "lua pipe read data error pipe:%" PTR, ptr(this));
      return failed();
    }
    if (n == 0) {
      PIPE_DEBUG(pipe_, 0, "lua pipe closed pipe:%" PTR, ptr(this));
      eof_ = true;
    }
    pos_ = buffer_.get();
    last_ = pos_ + n;
  }
}

void PipeReader::cancel() {
  kept_ = receiver_.partial();
  receiver_.drop();
  PipeSide::cancel();
}

// --- writing ---

PipeWriter::PipeWriter(Pipe* pipe) : PipeSide(pipe, UV_WRITABLE, "lua pipe proc write cleanup") {}

Rc PipeWriter::write(Str data) {
  length_ = data.size();
  held_.clear();
  sent_ = 0;
  // What the pipe takes at once is not copied.
  while (!data.empty()) {
    ssize_t n = end_->write(data.data(), data.size());
    if (n == net::kIoAgain) break;
    if (n == net::kIoError) {
      PIPE_DEBUG(pipe_, end_->error(), "lua pipe write data error pipe:%" PTR, ptr(this));
      return failed();
    }
    data.remove_prefix(static_cast<size_t>(n));
  }
  if (data.empty()) return kOk;
  held_ = data;
  if (watch()) return kAgain;
  system_error = EBADF;
  error = PipeError::kSystem;
  return kOk;
}

Rc PipeWriter::advance() {
  while (sent_ < held_.size()) {
    ssize_t n = end_->write(held_.data() + sent_, held_.size() - sent_);
    if (n == net::kIoAgain) return kAgain;
    if (n == net::kIoError) {
      PIPE_DEBUG(pipe_, end_->error(), "lua pipe write data error pipe:%" PTR, ptr(this));
      return failed();
    }
    sent_ += static_cast<size_t>(n);
  }
  PIPE_DEBUG(pipe_, 0, "lua pipe write done pipe:%" PTR, ptr(this));
  return kOk;
}

// --- proc:wait() ---

int PipeEndWait::results(lua_State* L) {
  if (aborted_ || timeout_) {
    lua_pushnil(L);
    lua_pushstring(L, aborted_ ? "aborted" : "timeout");
    timeout_ = false;
    resumed();
    return 2;
  }
  int status;
  const char* reason = pipe_->reason(&status);
  lua_pushboolean(L, status == 0);
  lua_pushstring(L, reason);
  lua_pushinteger(L, status);
  pipe_->close();
  resumed();
  return 3;
}

void PipeEndWait::aborted() {
  if (!busy()) return;
  aborted_ = true;
  end_later();
}

void PipeEndWait::cancel() {
  PIPE_DEBUG(pipe_, 0, "lua pipe proc wait cleanup");
  timeout_ = false;
  PipeWait::cancel();
}

// --- the process ---

Pipe::Pipe(engine::Generation* g, PipeProc* proc, net::Child* child, bool merge, size_t buffer_size)
    : gen_(g),
      proc_(proc),
      child_(child),
      pid_(child->pid()),
      merge_stderr_(merge),
      buffer_size_(buffer_size) {
  child->on_end(child_ended, this);
  stdin_.adopt(child->pipes()[0]);
  stdout_.adopt(child->pipes()[1]);
  stderr_.adopt(child->pipes()[2]);
}

Pipe::~Pipe() { child_->release(); }

Pipe* Pipe::spawn(Request* r, PipeProc* proc, const net::ChildSpec& spec, size_t buffer_size,
                  unsigned char* err, size_t* errlen) {
  const char* call = "";
  net::Child* child = net::Child::spawn(net::current_loop(), spec, &call);
  if (!child) {
    ffi_error(err, errlen, "%s failed: %s", call, strerror(errno));
    return nullptr;
  }
  auto* p = new Pipe(engine::ctx_of(r)->gen, proc, child, spec.merge_stderr, buffer_size);
  if (child->exec_error() && p->log().enabled(kLogErr)) {
    log_write(p->log(), nullptr, kLogErr, child->exec_error(),
              "lua pipe child %s() failed while executing %s", spec.environ ? "execvpe" : "execvp",
              spec.file);
  }
  // The process belongs to the request that started it.
  p->cleanup_ = r->pool->on_destroy(
      [](void* data) {
        auto* pipe = static_cast<Pipe*>(data);
        pipe->cleanup_ = nullptr;
        pipe->destroy();
      },
      p);
  proc->pid = child->pid();
  proc->pipe = p;
  PIPE_DEBUG(p, 0, "lua pipe spawn process:%" PTR " pid:%d merge_stderr:%d buffer_size:%zu",
             ptr(proc), child->pid(), spec.merge_stderr, buffer_size);
  return p;
}

void Pipe::child_ended(void* self) {
  auto* p = static_cast<Pipe*>(self);
  if (p->log().enabled(kLogNotice))
    log_write(p->log(), nullptr, kLogNotice, 0, "signal %d (SIGCHLD) received from %d", SIGCHLD,
              p->pid_);
  PIPE_DEBUG(p, 0, "lua pipe SIGCHLD fd read pid:%d status:%d", p->pid_, p->child_->status());
  if (p->wait_.busy()) {
    p->wait_.ended();
  } else {
    p->free_if_unused();
  }
}

const char* Pipe::reason(int* status) const {
  int s = child_->status();
  if (WIFSIGNALED(s)) {
    *status = WTERMSIG(s);
    return "signal";
  }
  if (WIFEXITED(s)) {
    *status = WEXITSTATUS(s);
    return "exit";
  }
  *status = s;
  return "unknown";
}

void Pipe::close() {
  if (closed_) return;
  closed_ = true;
  PIPE_DEBUG(this, 0, "lua pipe finalize process:%" PTR " pid:%d", ptr(proc_), pid_);
  PipeError why = dead() ? PipeError::kClosed : PipeError::kAborted;
  stdin_.close(why);
  stdout_.close(why);
  if (!merge_stderr_) stderr_.close(why);
}

void Pipe::destroy() {
  PIPE_DEBUG(this, 0, "lua pipe destroy process:%" PTR " pid:%d", ptr(proc_), pid_);
  if (!dead()) {
    PIPE_DEBUG(this, 0, "lua pipe kill process:%" PTR " pid:%d", ptr(proc_), pid_);
    int err = child_->kill(SIGKILL);
    if (err && err != ESRCH && log().enabled(kLogErr))
      log_write(log(), nullptr, kLogErr, err, "lua pipe failed to kill process:%" PTR " pid:%d",
                ptr(proc_), pid_);
  }
  if (cleanup_) cleanup_->fn = nullptr;
  cleanup_ = nullptr;
  close();
  wait_.aborted();
  proc_->pipe = nullptr;
  proc_ = nullptr;
  free_if_unused();
}

void Pipe::free_if_unused() {
  if (proc_ || waiting_ > 0) return;
  if (dead()) {
    delete this;
  } else {
    linger(gen_);  // it was killed: its end is logged
  }
}

}  // namespace moonphase::ngx
