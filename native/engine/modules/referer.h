// valid_referers and $invalid_referer (ngx_http_referer_module).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/plan.h"

namespace moonphase::engine {

struct RefererConf {
  bool none = false;     // a request without a Referer is valid
  bool blocked = false;  // one whose Referer has no scheme, too
  // Host, lower case → what the rest must begin with; "" is any.
  StrMap<std::string> exact;
  // `*.example.com` before `example.*`, the longest first.
  std::vector<std::pair<std::string, std::string>> masks;
  std::vector<RegexPtr> regex;         // against what follows the scheme
  std::vector<RegexPtr> server_regex;  // against the host

  void add(std::string name, std::string uri);
  void sort();  // once all names are added
};

void register_referer();

}  // namespace moonphase::engine
