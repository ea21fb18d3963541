#include "engine/regex.h"

#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH 8
#endif
#include <pcre2.h>

#include <algorithm>

namespace moonphase::engine {

namespace {

// One match data for all patterns of the thread; it grows to the most groups that a pattern has.
struct MatchData {
  pcre2_match_data* data = nullptr;
  int pairs = 0;
  ~MatchData() { pcre2_match_data_free(data); }
  pcre2_match_data* get(int wanted) {
    if (wanted > pairs) {
      pcre2_match_data_free(data);
      pairs = std::max(wanted, 16);
      data = pcre2_match_data_create(static_cast<uint32_t>(pairs), nullptr);
    }
    return data;
  }
};
thread_local MatchData t_match_data;

}  // namespace

std::unique_ptr<Regex> Regex::compile(Str pattern, bool caseless, std::string* error) {
  int code = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* re = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                 caseless ? PCRE2_CASELESS : 0, &code, &offset, nullptr);
  if (re == nullptr) {
    char text[128];
    pcre2_get_error_message(code, reinterpret_cast<PCRE2_UCHAR*>(text), sizeof text);
    if (error) {
      *error =
          "pcre2_compile() failed: " + std::string(text) + " in \"" + std::string(pattern) + "\"";
      if (offset < pattern.size()) *error += " at \"" + std::string(pattern.substr(offset)) + "\"";
    }
    return nullptr;
  }
  pcre2_jit_compile(re, PCRE2_JIT_COMPLETE);  // without JIT it is interpreted

  std::unique_ptr<Regex> regex(new Regex);
  regex->code_ = re;
  regex->pattern = pattern;
  regex->caseless = caseless;
  uint32_t groups = 0, names = 0, entry = 0;
  pcre2_pattern_info(re, PCRE2_INFO_CAPTURECOUNT, &groups);
  regex->groups_ = static_cast<int>(groups);
  pcre2_pattern_info(re, PCRE2_INFO_NAMECOUNT, &names);
  if (names) {
    PCRE2_SPTR table = nullptr;
    pcre2_pattern_info(re, PCRE2_INFO_NAMEENTRYSIZE, &entry);
    pcre2_pattern_info(re, PCRE2_INFO_NAMETABLE, &table);
    for (uint32_t i = 0; i < names; ++i, table += entry)
      regex->named.push_back(
          {reinterpret_cast<const char*>(table + 2), (table[0] << 8) + table[1]});
  }
  return regex;
}

Regex::~Regex() { pcre2_code_free(code_); }

int Regex::match(Str subject, int* captures, int size) const {
  pcre2_match_data* data = t_match_data.get(groups_ + 1);
  int rc = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(subject.data()), subject.size(), 0, 0,
                       data, nullptr);
  if (rc < 0) return rc;
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data);
  int n = std::min(rc * 2, size);
  for (int i = 0; i < n; ++i)
    captures[i] = offsets[i] == PCRE2_UNSET ? -1 : static_cast<int>(offsets[i]);
  return rc;
}

}  // namespace moonphase::engine
