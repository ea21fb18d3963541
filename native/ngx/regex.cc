// ngx.re: compiling and matching.
#include "ngx/regex.h"

#include <pcre2.h>

#include <algorithm>
#include <cstdlib>

#include "engine/running.h"
#include "ngx/log.h"

namespace moonphase::ngx {

namespace {

// Bits of `flags`.
constexpr int kDfa = 0x02, kJit = 0x04, kNoUtfCheck = 0x10;
constexpr int kMinJitStack = 32 * 1024;
constexpr int kDfaWorkspace = 100;

// What matching needs beside the expression: one of each is enough for a thread.
struct Matcher {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_match_data* data = nullptr;
  uint32_t pairs = 0;
  pcre2_jit_stack* stack = nullptr;
  uint32_t default_limit = 0;
  unsigned limit = 0;

  Matcher() { pcre2_config(PCRE2_CONFIG_MATCHLIMIT, &default_limit); }
  ~Matcher() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
  bool reserve(uint32_t n) {
    if (data && pairs >= n) return true;
    pcre2_match_data_free(data);
    data = pcre2_match_data_create(n, nullptr);
    pairs = data ? n : 0;
    return data;
  }
  // 0: PCRE2's own.
  void set_limit(unsigned n) {
    if (n == limit) return;
    limit = n;
    pcre2_set_match_limit(context, n ? n : default_limit);
  }
};
Matcher& matcher() {
  static thread_local Matcher m;
  return m;
}

void compile_error(Str pattern, int code, size_t at, unsigned char* errstr, size_t size) {
  char reason[128];
  pcre2_get_error_message(code, reinterpret_cast<PCRE2_UCHAR*>(reason), sizeof reason);
  char* out = reinterpret_cast<char*>(errstr);
  if (at >= pattern.size()) {
    snprintf(out, size, "pcre2_compile() failed: %s in \"%.*s\"", reason, STR(pattern));
  } else {
    Str rest = pattern.substr(at);
    rest = rest.substr(0, rest.find('\0'));
    snprintf(out, size, "pcre2_compile() failed: %s in \"%.*s\" at \"%.*s\"", reason, STR(pattern),
             STR(rest));
  }
}

bool compile_jit(pcre2_code* code, Str pattern) {
  int rc = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  const Log& log = log_for(nullptr);
  if (rc == 0) {
    if (log.enabled(kLogDebug))
      log_write(log, nullptr, kLogDebug, 0, "pcre2 JIT compiled successfully");
    return true;
  }
  if (log.enabled(kLogInfo)) {
    log_write(log, nullptr, kLogInfo, 0, "pcre2_jit_compile() failed: %d in \"%.*s\", ignored", rc,
              STR(pattern));
  }
  return false;
}

}  // namespace

}  // namespace moonphase::ngx

using namespace moonphase;
using namespace moonphase::ngx;

MOONPHASE_FFI const char* ngx_http_lua_ffi_pcre_version(void) {
  static thread_local char t_version[64];
  pcre2_config(PCRE2_CONFIG_VERSION, t_version);
  return t_version;
}

MOONPHASE_FFI uint32_t ngx_http_lua_ffi_max_regex_cache_size(void) {
  engine::Generation* g = engine::running();
  return static_cast<uint32_t>(g && g->plan ? g->plan->lua.regex_cache_max_entries
                                            : engine::LuaMainConf().regex_cache_max_entries);
}

MOONPHASE_FFI int ngx_http_lua_ffi_set_jit_stack_size(int size, unsigned char* errstr,
                                                      size_t* errstr_size) {
  Matcher& m = matcher();
  pcre2_jit_stack* stack = pcre2_jit_stack_create(
      kMinJitStack, static_cast<size_t>(std::max(size, kMinJitStack)), nullptr);
  if (!stack) return ffi_error(errstr, errstr_size, "pcre jit stack allocation failed");
  pcre2_jit_stack_assign(m.context, nullptr, stack);
  pcre2_jit_stack_free(m.stack);
  m.stack = stack;
  return kOk;
}

MOONPHASE_FFI NgxRegex* ngx_http_lua_ffi_compile_regex(const unsigned char* pat, size_t pat_len,
                                                       int flags, int pcre_opts,
                                                       unsigned char* errstr, size_t errstr_size) {
  int code;
  size_t at;
  pcre2_code* compiled =
      pcre2_compile(pat, pat_len, static_cast<uint32_t>(pcre_opts), &code, &at, nullptr);
  if (!compiled) {
    compile_error(str(pat, pat_len), code, at, errstr, errstr_size);
    return nullptr;
  }
  auto* owner = new RegexOwner;
  if (flags & kJit) {
    uint32_t all = 0;  // a pattern may turn UTF on by itself: "(*UTF)"
    pcre2_pattern_info(compiled, PCRE2_INFO_ALLOPTIONS, &all);
    owner->jit = compile_jit(compiled, str(pat, pat_len)) && !(flags & kDfa) &&
                 (!(all & PCRE2_UTF) || (flags & kNoUtfCheck));
  }
  engine::Generation* g = engine::running();
  if (g && g->plan) owner->match_limit = static_cast<unsigned>(g->plan->lua.regex_match_limit);

  auto* re = new NgxRegex{};
  re->pool = owner;
  re->regex = compiled;
  re->pattern = reinterpret_cast<const char*>(pat);
  uint32_t captures = 0, names = 0, entry = 0;
  if (!(flags & kDfa)) pcre2_pattern_info(compiled, PCRE2_INFO_CAPTURECOUNT, &captures);
  pcre2_pattern_info(compiled, PCRE2_INFO_NAMECOUNT, &names);
  if (names) {
    pcre2_pattern_info(compiled, PCRE2_INFO_NAMEENTRYSIZE, &entry);
    pcre2_pattern_info(compiled, PCRE2_INFO_NAMETABLE, &re->name_table);
  }
  re->name_count = static_cast<int>(names);
  re->name_entry_size = static_cast<int>(entry);
  re->ncaptures = static_cast<int>(captures);
  re->captures = new int[2 * (captures + 1)];
  return re;
}

MOONPHASE_FFI int ngx_http_lua_ffi_exec_regex(NgxRegex* re, int flags, const unsigned char* s,
                                              size_t len, int pos) {
  Matcher& m = matcher();
  auto* code = static_cast<pcre2_code*>(re->regex);
  auto* owner = static_cast<RegexOwner*>(re->pool);
  bool dfa = flags & kDfa;
  auto pairs = static_cast<uint32_t>(dfa ? 1 : re->ncaptures + 1);
  if (dfa) re->ncaptures = 0;
  if (!m.reserve(pairs)) return PCRE2_ERROR_NOMEMORY;
  m.set_limit(owner->match_limit);

  auto start = static_cast<size_t>(pos);
  uint32_t options = flags & kNoUtfCheck ? PCRE2_NO_UTF_CHECK : 0;
  int rc;
  if (dfa) {
    int workspace[kDfaWorkspace];
    rc = pcre2_dfa_match(code, s, len, start, options, m.data, m.context, workspace, kDfaWorkspace);
  } else if (owner->jit && pos >= 0 && start <= len) {
    rc = pcre2_jit_match(code, s, len, start, 0, m.data, m.context);
  } else {
    rc = pcre2_match(code, s, len, start, options, m.data, m.context);
  }
  if (rc < 0) return rc;

  // Unset groups are ~0: -1 as an int.
  const size_t* offsets = pcre2_get_ovector_pointer(m.data);
  for (uint32_t i = 0; i < 2 * pairs; ++i) re->captures[i] = static_cast<int>(offsets[i]);
  return rc;
}

MOONPHASE_FFI void ngx_http_lua_ffi_destroy_regex(NgxRegex* re) {
  if (!re || !re->pool) return;
  auto* owner = static_cast<RegexOwner*>(re->pool);
  free_template(owner->compiled);
  delete[] owner->text;
  delete owner;
  pcre2_code_free(static_cast<pcre2_code*>(re->regex));
  delete[] re->captures;
  delete re;
}
