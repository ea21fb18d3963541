/* librestysignal.so, the C part of lua-resty-signal, which looks for a file of this name along
   package.cpath: the numbers of signals on this system, by the ones that the library gives to their
   names. Not part of the addon. */
#include <signal.h>

enum { COUNT = 34 };

static const int numbers[COUNT] = {
    [0] = 0,          [1] = SIGHUP,   [2] = SIGINT,    [3] = SIGQUIT,  [4] = SIGILL,
    [5] = SIGTRAP,    [6] = SIGABRT,  [7] = SIGBUS,    [8] = SIGFPE,   [9] = SIGKILL,
    [10] = SIGUSR1,   [11] = SIGSEGV, [12] = SIGUSR2,  [13] = SIGPIPE, [14] = SIGALRM,
    [15] = SIGTERM,   [17] = SIGCHLD, [18] = SIGCONT,  [19] = SIGSTOP, [20] = SIGTSTP,
    [21] = SIGTTIN,   [22] = SIGTTOU, [23] = SIGURG,   [24] = SIGXCPU, [25] = SIGXFSZ,
    [26] = SIGVTALRM, [27] = SIGPROF, [28] = SIGWINCH, [29] = SIGIO,   [30] = SIGPWR,
};

/* -1: there is no such signal here. */
__attribute__((visibility("default"))) int resty_signal_signum(int id) {
  if (id < 0 || id >= COUNT) return -1;
  return id == 0 || numbers[id] != 0 ? numbers[id] : -1;
}
