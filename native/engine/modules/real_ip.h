// set_real_ip_from and its like (ngx_http_realip_module).
#pragma once

#include <string>
#include <vector>

#include "engine/address_rule.h"
#include "http/request.h"

namespace moonphase::engine {

struct RealIpConf {
  std::vector<AddressRule> from;
  bool proxy_protocol = false;  // the address is what the PROXY protocol's header says
  std::string header;           // lower case; otherwise: whose value it is
  bool recursive = false;
};

void register_real_ip();
// The connection goes on without this request, which keeps the address that it was given.
void real_ip_detached(http::Request* main);

}  // namespace moonphase::engine
