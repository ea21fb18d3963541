// ngx.log, print and ngx.errlog.
#include <cstdio>
#include <memory>

#include "base/clock.h"
#include "engine/running.h"
#include "ngx/api.h"
#include "ngx/ffi.h"
#include "ngx/log.h"
#include "ngx/log_ring.h"
#include "ngx/text.h"

namespace moonphase::ngx {

namespace {

thread_local std::unique_ptr<LogRing> t_ring;

bool capture(int level, Str line, void*) {
  if (level <= t_ring->filter_level) {
    t_ring->write(level, line, static_cast<double>(now().wall_ms) / 1000.0);
  }
  return false;
}

// A VM without a server has no error_log of its own.
class StderrSink final : public LogSink {
  void write(int, Str line) override { fwrite(line.data(), 1, line.size(), stderr); }
};
const Log& fallback_log() {
  static StderrSink sink;
  static const Log::Target target{&sink, kLogNotice};
  static const Log log{&target, 1, kLogNotice};
  return log;
}

const LogContext* context_for(const Request* r) { return r ? r->conn : nullptr; }

Str base_name(Str path) {
  size_t slash = path.find_last_of("/\\");
  return slash == Str::npos ? path : path.substr(slash + 1);
}

void append_argument(lua_State* L, int i, std::string* out) {
  if (append_scalar(L, i, out)) return;
  if (!lua_istable(L, i)) {
    luaL_argerror(L, i,
                  lua_pushfstring(L, "string, number, boolean, or nil expected, got %s",
                                  luaL_typename(L, i)));
  }
  if (!luaL_callmeta(L, i, "__tostring")) {
    luaL_argerror(L, i, "expected table to have __tostring metamethod");
  }
  size_t n;
  if (const char* p = lua_tolstring(L, -1, &n)) out->append(p, n);
  lua_pop(L, 1);
}

// "[lua] FILE:LINE: FUNCTION(): ARGUMENTS"; the arguments are all that is on the stack.
int write_arguments(lua_State* L, Request* r, int level) {
  const Log& log = log_for(r);
  if (!log.enabled(level)) return 0;

  std::string text = "[lua] ";
  lua_Debug ar;
  if (lua_getstack(L, 1, &ar)) {
    lua_getinfo(L, "Snl", &ar);
    text.append(base_name(ar.short_src));
    text.push_back(':');
    append_number(&text, ar.currentline > 0 ? ar.currentline : ar.linedefined);
    text.append(": ");
    if (*ar.namewhat && *ar.what == 'L') {
      text.append(ar.name);
      text.append("(): ");
    }
  }
  int n = lua_gettop(L);
  for (int i = 1; i <= n; ++i) append_argument(L, i, &text);
  log_bytes(log, context_for(r), level, text);
  return 0;
}

int ngx_log(lua_State* L) {
  int level = static_cast<int>(luaL_checkinteger(L, 1));
  if (level < kLogStderr || level > kLogDebug) {
    return luaL_argerror(L, 1, lua_pushfstring(L, "bad log level: %d", level));
  }
  lua_remove(L, 1);
  return write_arguments(L, engine::request_of(L), level);
}

int ngx_print(lua_State* L) { return write_arguments(L, engine::request_of(L), kLogNotice); }

LogRing* ring(unsigned char* err, size_t* errlen) {
  if (!t_ring) ffi_error(err, errlen, "directive \"lua_capture_error_log\" is not set");
  return t_ring.get();
}

}  // namespace

const Log& log_for(const Request* r) {
  if (r) return engine::log_of(r);
  engine::Generation* g = engine::running();
  return g && g->plan ? g->plan->error_log : fallback_log();
}

void open_log(lua_State* L) {
  lua_pushcfunction(L, ngx_log);
  lua_setfield(L, -2, "log");
  lua_pushcfunction(L, ngx_print);
  lua_setglobal(L, "print");

  engine::Generation* g = engine::generation_of(L);
  int64_t size = g && g->plan ? g->plan->lua.capture_error_log : 0;
  // A VM that belongs to one request (lua_code_cache off) goes on with what is there.
  if (!t_ring || t_ring->size() != static_cast<size_t>(size)) {
    t_ring.reset(size > 0 ? new LogRing(static_cast<size_t>(size)) : nullptr);
  }
  set_log_tap(t_ring ? capture : nullptr, nullptr);
}

}  // namespace moonphase::ngx

using namespace moonphase;
using namespace moonphase::ngx;

MOONPHASE_FFI int ngx_http_lua_ffi_errlog_set_filter_level(int level, unsigned char* err,
                                                           size_t* errlen) {
  LogRing* r = ring(err, errlen);
  if (!r) return kError;
  if (level > kLogDebug || level < kLogStderr) {
    return ffi_error(err, errlen, "bad log level: %d", level);
  }
  r->filter_level = level;
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_errlog_get_msg(char** log, int* loglevel, unsigned char* err,
                                                  size_t* errlen, double* log_time) {
  LogRing* r = ring(err, errlen);
  if (!r) return kError;
  Str line;
  if (!r->read(loglevel, &line, log_time)) return kDone;
  *log = const_cast<char*>(line.data());
  return static_cast<int>(line.size());
}

MOONPHASE_FFI int ngx_http_lua_ffi_errlog_get_sys_filter_level(Request* r) {
  return log_for(r).max_level;
}

MOONPHASE_FFI int ngx_http_lua_ffi_raw_log(Request* r, int level, const unsigned char* s,
                                           size_t s_len) {
  if (level > kLogDebug || level < kLogStderr) return kError;
  const Log& log = log_for(r);
  if (log.enabled(level)) log_bytes(log, context_for(r), level, str(s, s_len));
  return kOk;
}
