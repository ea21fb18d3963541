// Child processes: started without a shell, and told about when they have ended. Only those are
// waited for; the rest of the process (Node's own children, os.execute) keeps its own.
#pragma once

#include <sys/types.h>

#include "net/loop.h"

namespace moonphase::net {

struct ChildSpec {
  const char* file;                      // looked for in PATH unless it has a slash
  const char* const* arguments;          // ends with a null pointer
  const char* const* environ = nullptr;  // the same; null: ours
  bool merge_stderr = false;             // its standard error is its standard output
};

class Child {
 public:
  // Starts it with pipes of its own, SIGPIPE and the like as by default, every CPU that we were
  // given, and no other descriptor. Null: *call says what failed, errno why. A program that cannot
  // be executed is a child that exits with 1: `exec_error()` is its errno.
  static Child* spawn(Loop* loop, const ChildSpec& spec, const char** call);

  pid_t pid() const { return pid_; }
  int exec_error() const { return exec_error_; }
  // Our ends of the pipes, non-blocking: standard input, output, error (-1 when merged). The caller
  // closes them.
  const int* pipes() const { return pipes_; }
  bool ended() const { return ended_; }
  int status() const { return status_; }  // as waitpid gives it, when it has ended
  // Called in a Loop::Scope, once, when the child has ended.
  void on_end(void (*fn)(void* data), void* data) {
    end_fn_ = fn;
    end_data_ = data;
  }
  // errno, or 0. Not when it has ended: the number may be another process's by then.
  int kill(int signal);
  // No more events. It is freed when it has ended.
  void release();

 private:
  friend struct Children;
  Child() = default;
  ~Child() = default;
  pid_t pid_ = -1;
  int status_ = 0, exec_error_ = 0;
  int pipes_[3] = {-1, -1, -1};
  bool ended_ = false, released_ = false;
  void (*end_fn_)(void*) = nullptr;
  void* end_data_ = nullptr;
  Child* next_ = nullptr;  // of the loop's living ones
};

}  // namespace moonphase::net
