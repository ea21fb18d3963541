// charset, source_charset, override_charset: the header only. Answers are not converted:
// charset_map is refused when the configuration is read.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/plan.h"

namespace moonphase::engine {

struct CharsetConf {
  struct Name {
    enum Kind : uint8_t { kOff, kText, kVar } kind = kOff;
    std::string text;
    int var = -1;
  };
  Name charset, source;
  bool override = false, any_type = false;
  std::vector<std::string> types;  // lower case
  // The names that the configuration uses, in lower case; made by seal_charset().
  std::shared_ptr<const std::vector<std::string>> known;
};

// Where no charset is used at all, no location keeps its CharsetConf.
void seal_charset(Plan& plan);
void register_charset();

}  // namespace moonphase::engine
