// sub_filter: texts in an answer's body become others, in any case of letters.
#pragma once

#include <string>
#include <vector>

#include "engine/plan.h"

namespace moonphase::engine {

struct SubConf {
  struct Pair {
    Complex match, value;
  };
  std::vector<Pair> pairs;
  std::vector<std::string> types;
  bool any_type = false;
  bool once = true, last_modified = false;
};

void register_sub();

}  // namespace moonphase::engine
