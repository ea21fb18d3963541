#include "bind/process.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <vector>

#include "bind/napi_util.h"
#include "ngx/api.h"

extern char** environ;

namespace moonphase::bind {

namespace {

// {call, errno, text} of the last error.
napi_value failure(napi_env env, const std::string& call) {
  int err = errno;
  napi_value result;
  napi_create_object(env, &result);
  js_set(env, result, "call", js_string(env, call));
  js_set(env, result, "errno", js_number(env, err));
  js_set(env, result, "text", js_string(env, strerror(err)));
  return result;
}

// strerror(errno): the text.
napi_value error_text(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  int32_t err = 0;
  napi_get_value_int32(env, args[0], &err);
  return js_string(env, strerror(err));
}

// daemonise(): a session of our own, /dev/null for standard input and output.
napi_value daemonise(napi_env env, napi_callback_info) {
  if (setsid() < 0) return failure(env, "setsid()");
  umask(0);
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return failure(env, "open(\"/dev/null\")");
  bool ok = dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDOUT_FILENO) >= 0;
  if (!ok) return failure(env, "dup2()");
  if (null > STDERR_FILENO) close(null);
  return js_undefined(env);
}

// redirectStderr(path): what is printed there goes to the end of that file.
napi_value redirect_stderr(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  std::string path = bytes_of(env, args[0]);
  int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return failure(env, "open()");
  bool ok = dup2(fd, STDERR_FILENO) >= 0;
  int err = errno;
  close(fd);
  errno = err;
  return ok ? js_undefined(env) : failure(env, "dup2()");
}

struct Account {
  uid_t uid;
  gid_t gid;
};

bool find_account(const std::string& user, const std::string& group, Account* out,
                  const char** call) {
  errno = 0;
  *call = "getpwnam()";
  const passwd* pw = getpwnam(user.c_str());
  if (!pw) return false;
  *out = {pw->pw_uid, pw->pw_gid};
  if (group.empty()) return true;
  *call = "getgrnam()";
  const struct group* gr = getgrnam(group.c_str());
  if (!gr) return false;
  out->gid = gr->gr_gid;
  return true;
}

// account(user, group?): {uid, gid}.
napi_value account(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  Account a{};
  const char* call = "";
  if (!find_account(bytes_of(env, args[0]), bytes_of(env, args[1]), &a, &call))
    return failure(env, call);
  napi_value result;
  napi_create_object(env, &result);
  js_set(env, result, "uid", js_number(env, a.uid));
  js_set(env, result, "gid", js_number(env, a.gid));
  return result;
}

// setLimits({nofile?, core?, priority?}).
napi_value set_limits(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  auto limit = [&](const char* name, int resource) {
    double n = number_option(env, args[0], name, -1);
    if (n < 0) return true;
    rlimit r{static_cast<rlim_t>(n), static_cast<rlim_t>(n)};
    return setrlimit(static_cast<__rlimit_resource_t>(resource), &r) == 0;
  };
  if (!limit("nofile", RLIMIT_NOFILE)) return failure(env, "setrlimit(RLIMIT_NOFILE)");
  if (!limit("core", RLIMIT_CORE)) return failure(env, "setrlimit(RLIMIT_CORE)");
  double priority = number_option(env, args[0], "priority", 0);
  if (priority != 0 && setpriority(PRIO_PROCESS, 0, static_cast<int>(priority)) != 0)
    return failure(env, "setpriority()");
  return js_undefined(env);
}

// setAffinity("0101"): the rightmost digit is CPU 0.
napi_value set_affinity(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  std::string mask = bytes_of(env, args[0]);
  cpu_set_t set;
  CPU_ZERO(&set);
  for (size_t i = 0; i < mask.size(); ++i) {
    if (mask[mask.size() - 1 - i] == '1') CPU_SET(i, &set);
  }
  return sched_setaffinity(0, sizeof set, &set) == 0 ? js_undefined(env)
                                                     : failure(env, "sched_setaffinity()");
}

// setArguments([text]): what `ngx_argv` shows. Of the process, and for as long as it lives.
napi_value set_arguments(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  std::vector<std::string> list;
  uint32_t n = 0;
  napi_get_array_length(env, args[0], &n);
  for (uint32_t i = 0; i < n; ++i) {
    napi_value item = nullptr;
    napi_get_element(env, args[0], i, &item);
    list.push_back(bytes_of(env, item));
  }
  ngx::set_arguments(std::move(list));
  return js_undefined(env);
}

// setEnvironment([[name, value?]]): exactly these; without a value, what the process has by that
// name.
napi_value set_environment(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  std::vector<std::pair<std::string, std::string>> kept;
  uint32_t n = 0;
  napi_get_array_length(env, args[0], &n);
  for (uint32_t i = 0; i < n; ++i) {
    napi_value item = nullptr, name = nullptr, value = nullptr;
    napi_get_element(env, args[0], i, &item);
    napi_get_element(env, item, 0, &name);
    napi_get_element(env, item, 1, &value);
    std::string key = bytes_of(env, name);
    if (js_type(env, value) == napi_string) {
      kept.emplace_back(key, bytes_of(env, value));
    } else if (const char* old = getenv(key.c_str())) {
      kept.emplace_back(key, old);
    }
  }
  clearenv();
  for (const auto& [name, value] : kept) setenv(name.c_str(), value.c_str(), 1);
  tzset();
  return js_undefined(env);
}

// dieWithParent(signal): the kernel sends it when the process that started us ends; false: it is
// gone already.
napi_value die_with_parent(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  int32_t signal = 0, parent = 0;
  napi_get_value_int32(env, args[0], &signal);
  napi_get_value_int32(env, args[1], &parent);
  prctl(PR_SET_PDEATHSIG, signal);
  return js_boolean(env, getppid() == parent);
}

// closeOnExec(fd).
napi_value close_on_exec(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  int32_t fd = -1;
  napi_get_value_int32(env, args[0], &fd);
  return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? js_undefined(env) : failure(env, "fcntl()");
}

}  // namespace

bool drop_privileges(const std::string& user, const std::string& group, std::string* error) {
  if (geteuid() != 0) return true;
  Account a{};
  const char* call = "";
  bool ok = find_account(user, group, &a, &call);
  if (ok) {
    call = "setgid()";
    ok = setgid(a.gid) == 0;
  }
  if (ok) {
    call = "initgroups()";
    ok = initgroups(user.c_str(), a.gid) == 0;
  }
  if (ok) {
    call = "setuid()";
    ok = setuid(a.uid) == 0;
  }
  if (ok) {
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);  // setuid() switched core dumps off
    return true;
  }
  *error = std::string(call) + " \"" + user + "\" failed (" + std::to_string(errno) + ": " +
           strerror(errno) + ")";
  return false;
}

void define_process(napi_env env, napi_value exports) {
  add_function(env, exports, "errorText", error_text);
  add_function(env, exports, "daemonise", daemonise);
  add_function(env, exports, "redirectStderr", redirect_stderr);
  add_function(env, exports, "account", account);
  add_function(env, exports, "setLimits", set_limits);
  add_function(env, exports, "setAffinity", set_affinity);
  add_function(env, exports, "setArguments", set_arguments);
  add_function(env, exports, "setEnvironment", set_environment);
  add_function(env, exports, "dieWithParent", die_with_parent);
  add_function(env, exports, "closeOnExec", close_on_exec);
}

}  // namespace moonphase::bind
