#include "net/child.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "net/handle.h"

namespace moonphase::net {

namespace {

// The CPUs that the process was given, before worker_cpu_affinity took some away.
const cpu_set_t initial_cpus = [] {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  return set;
}();

}  // namespace

// The living children of one loop.
struct Children {
  explicit Children(Loop* l) : loop(l) {
    uv_signal_init(loop->uv(), &signal);
    signal.data = this;
    uv_unref(reinterpret_cast<uv_handle_t*>(&signal));
    loop->at_end(close, this);
  }

  static Children* of(Loop* loop) {
    if (!current || current->loop != loop) current = new Children(loop);
    return current;
  }

  static void close(void* self) {
    auto* c = static_cast<Children*>(self);
    if (current == c) current = nullptr;
    c->loop = nullptr;
    c->reap();
    while (Child* child = c->first) {  // nobody waits for it any more
      c->first = child->next_;
      if (child->released_) delete child;
    }
    close_handle(
        reinterpret_cast<uv_handle_t*>(&c->signal),
        [](void* p) { delete static_cast<Children*>(p); }, c);
  }

  void add(Child* child) {
    child->next_ = first;
    first = child;
  }

  static void on_signal(uv_signal_t* h, int) {
    auto* c = static_cast<Children*>(h->data);
    Loop::Scope scope(*c->loop);
    c->reap();
  }

  void reap() {
    for (Child** link = &first; Child* child = *link;) {
      int status = 0;
      pid_t pid;
      do pid = waitpid(child->pid_, &status, WNOHANG);
      while (pid < 0 && errno == EINTR);
      if (pid == 0) {
        link = &child->next_;
        continue;
      }
      *link = child->next_;
      child->ended_ = true;
      child->status_ = status;
      if (child->released_) {
        delete child;
      } else if (child->end_fn_) {
        // It may start or release others.
        child->end_fn_(child->end_data_);
        link = &first;
      }
    }
    if (!first && loop) uv_signal_stop(&signal);
  }

  Loop* loop;
  uv_signal_t signal{};
  Child* first = nullptr;
  static constinit thread_local Children* current;
};

constinit thread_local Children* Children::current = nullptr;

namespace {

// Both ends above the standard descriptors, which the child gets by dup2.
bool make_pipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  for (int i = 0; i < 2; ++i) {
    if (ends[i] > STDERR_FILENO) continue;
    int high = fcntl(ends[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int err = errno;
    ::close(ends[i]);
    ends[i] = high;
    if (high >= 0) continue;
    if (ends[0] >= 0) ::close(ends[0]);
    if (ends[1] >= 0) ::close(ends[1]);
    errno = err;
    return false;
  }
  return true;
}

// Headers older than the kernel lack these names.
constexpr long kCloseRange = 436;
constexpr unsigned kCloseRangeCloexec = 4;

// Before Linux 5.11 one by one: libuv and we open with close-on-exec, so what is left has low
// numbers.
void close_rest_on_exec() {
  if (syscall(kCloseRange, STDERR_FILENO + 1, ~0u, kCloseRangeCloexec) == 0) return;
  for (int fd = STDERR_FILENO + 1; fd < 4096; ++fd) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

// In the child, which shares our memory until it executes the program: system calls only.
[[noreturn]] void become(const ChildSpec& spec, const int ends[3], volatile int* exec_error) {
  // No handler of ours may run here; what is ignored stays so, but for what servers ignore.
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action {};
    if (sigaction(number, nullptr, &action) != 0) continue;
    bool ignored = !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_IGN;
    if (ignored && number != SIGPIPE && number != SIGSYS) continue;
    action = {};
    action.sa_handler = SIG_DFL;
    sigaction(number, &action, nullptr);
  }
  sched_setaffinity(0, sizeof initial_cpus, &initial_cpus);
  if (dup2(ends[0], STDIN_FILENO) >= 0 && dup2(ends[1], STDOUT_FILENO) >= 0 &&
      dup2(spec.merge_stderr ? STDOUT_FILENO : ends[2], STDERR_FILENO) >= 0) {
    close_rest_on_exec();
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    auto** arguments = const_cast<char**>(spec.arguments);
    if (spec.environ)
      execvpe(spec.file, arguments, const_cast<char**>(spec.environ));
    else
      execvp(spec.file, arguments);
  }
  *exec_error = errno;
  _exit(EXIT_FAILURE);
}

// vfork: the page tables of a process with a JavaScript heap take a millisecond to copy.
__attribute__((noinline)) pid_t start(const ChildSpec& spec, const int ends[3],
                                      volatile int* exec_error) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t pid = vfork();
  if (pid == 0) become(spec, ends, exec_error);
  int err = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = err;
  return pid;
}

}  // namespace

Child* Child::spawn(Loop* loop, const ChildSpec& spec, const char** call) {
  int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
  auto fail = [&](const char* what) -> Child* {
    int err = errno;
    for (auto& pair : pipes)
      for (int fd : pair)
        if (fd >= 0) ::close(fd);
    *call = what;
    errno = err;
    return nullptr;
  };
  for (int i = 0; i < (spec.merge_stderr ? 2 : 3); ++i)
    if (!make_pipe(pipes[i])) return fail("pipe");

  Children* children = Children::of(loop);
  if (!children->first) uv_signal_start(&children->signal, Children::on_signal, SIGCHLD);
  const int theirs[3] = {pipes[0][0], pipes[1][1], pipes[2][1]};
  const int ours[3] = {pipes[0][1], pipes[1][0], pipes[2][0]};
  volatile int exec_error = 0;
  pid_t pid = start(spec, theirs, &exec_error);
  if (pid < 0) return fail("fork");

  auto* child = new Child;
  child->pid_ = pid;
  child->exec_error_ = exec_error;
  for (int fd : theirs)
    if (fd >= 0) ::close(fd);
  for (int i = 0; i < 3; ++i) {
    child->pipes_[i] = ours[i];
    if (ours[i] >= 0) fcntl(ours[i], F_SETFL, fcntl(ours[i], F_GETFL) | O_NONBLOCK);
  }
  children->add(child);
  return child;
}

int Child::kill(int signal) {
  if (ended_) return ESRCH;
  return ::kill(pid_, signal) == 0 ? 0 : errno;
}

void Child::release() {
  end_fn_ = nullptr;
  released_ = true;
  if (ended_) delete this;
}

}  // namespace moonphase::net
