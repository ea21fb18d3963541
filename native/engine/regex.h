// Regular expressions of the configuration and of ngx.re (PCRE2 with JIT): compile, match, named groups.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/types.h"

namespace moonphase::engine {

class Regex {
 public:
  // Null with a message ("pcre2_compile() failed: … in "PATTERN" at "REST"") on a bad pattern.
  static std::unique_ptr<Regex> compile(Str pattern, bool caseless, std::string* error);
  virtual ~Regex() = default;
  // Number of groups + 1 and captures (pairs of offsets) filled up to `size` ints; -1: no match; < -1: an error of PCRE2.
  virtual int match(Str subject, int* captures, int size) const = 0;
  virtual int group_count() const = 0;  // without group 0
  // Named groups: name and number; nginx sets variables of these names.
  struct Named {
    std::string name;
    int group;
    int variable = -1;  // index in Plan.variables, set by seal()
  };
  std::vector<Named> named;
  std::string pattern;
  bool caseless = false;
};
using RegexPtr = std::unique_ptr<Regex>;

}  // namespace moonphase::engine
