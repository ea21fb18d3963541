// Regular expressions of the configuration and of ngx.re (PCRE2 with JIT): compile, match, named
// groups.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/types.h"

struct pcre2_real_code_8;

namespace moonphase::engine {

class Regex {
 public:
  // Null with a message ("pcre2_compile() failed: … in "PATTERN" at "REST"") on a bad pattern.
  static std::unique_ptr<Regex> compile(Str pattern, bool caseless, std::string* error);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;
  // The highest group that took part + 1, and `captures` (pairs of offsets, -1 for unset groups)
  // filled up to `size` ints; kNoMatch; another negative number: an error of PCRE2. `captures` may
  // be null when size is 0.
  int match(Str subject, int* captures, int size) const;
  static constexpr int kNoMatch = -1;
  int group_count() const { return groups_; }  // without group 0
  // Named groups: name and number; nginx sets variables of these names.
  struct Named {
    std::string name;
    int group;
    int variable = -1;  // index in Plan.variables, set by seal(); -1: nobody reads it
  };
  std::vector<Named> named;
  std::string pattern;
  bool caseless = false;

 private:
  Regex() = default;
  pcre2_real_code_8* code_ = nullptr;
  int groups_ = 0;
};
using RegexPtr = std::unique_ptr<Regex>;

}  // namespace moonphase::engine
