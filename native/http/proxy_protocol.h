// The PROXY protocol's header, versions 1 and 2: whom a load balancer in front of us speaks for
// (`listen … proxy_protocol`; nginx's ngx_proxy_protocol.c).
#pragma once

#include <memory>
#include <string>

#include "base/log.h"

namespace moonphase::http {

struct ProxyProtocol {
  std::string source, destination;  // addresses as text
  uint16_t source_port = 0, destination_port = 0;
  std::string tlvs;  // version 2: what follows the addresses

  // The value of a TLV by the name that `$proxy_protocol_tlv_` has in front: "alpn", "0x02",
  // "ssl_cn", "ssl_verify". False: there is none, or it is broken or unknown, which is logged.
  bool tlv(Str name, const Log& log, const LogContext* who, std::string* value) const;
};

constexpr size_t kLongestProxyHeader = 4096;

// Reads the header at the start of `bytes`. The result is its length; 0: it is broken, which is
// logged. *out stays null where the header names nobody.
size_t read_proxy_header(Str bytes, const Log& log, const LogContext* who,
                         std::shared_ptr<const ProxyProtocol>* out);

}  // namespace moonphase::http
