// headers-more-nginx-module: response headers set by a filter, request headers at the end of the
// rewrite phase.
#pragma once

#include <string>
#include <vector>

#include "engine/plan.h"

namespace moonphase::engine {

// One `more_*` directive.
struct MoreHeaders {
  struct Header {
    std::string name, lower;  // without the '*'
    bool wildcard = false;
    Complex value;  // empty: the header is removed
  };
  std::vector<Header> headers;
  // When there are any, only for these.
  std::vector<int> statuses;
  std::vector<std::string> types;
  bool append = false;   // -a: added to what is there
  bool replace = false;  // -r: only where it is there already
};

struct HeadersMoreConf {
  std::vector<MoreHeaders> out, in;  // in order, outer levels first
};

void register_headers_more();

}  // namespace moonphase::engine
