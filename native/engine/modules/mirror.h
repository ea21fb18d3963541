// mirror: copies of requests to other locations, whose answers nobody reads
// (ngx_http_mirror_module).
#pragma once

#include <string>
#include <vector>

namespace moonphase::engine {

struct MirrorConf {
  std::vector<std::string> uris;
  bool request_body = true;
};

void register_mirror();

}  // namespace moonphase::engine
