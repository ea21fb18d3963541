// allow and deny by the client's address (ngx_http_access_module).
#include "engine/address_rule.h"
#include "engine/content.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"

namespace moonphase::engine {

int access_handler(Request* r) {
  const LocConf* conf = loc(r);
  if (conf->access_rules.empty()) return kDeclined;
  RuleAddress address(reinterpret_cast<const sockaddr*>(&r->conn->peer));
  if (!address.known()) return kDeclined;

  for (const AddressRule& rule : conf->access_rules) {
    if (!address.in(rule)) continue;
    if (rule.allow) return kOk;
    if (!conf->satisfy_any) MOONPHASE_LOG(r, kLogErr, 0, "access forbidden by rule");
    return 403;
  }
  return kDeclined;
}

}  // namespace moonphase::engine
