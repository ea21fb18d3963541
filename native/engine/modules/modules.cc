#include "engine/modules/modules.h"

#include "engine/content.h"
#include "engine/modules/charset.h"
#include "engine/modules/echo.h"
#include "engine/modules/grpc.h"
#include "engine/modules/headers_more.h"
#include "engine/modules/limits.h"
#include "engine/modules/memc.h"
#include "engine/modules/mirror.h"
#include "engine/modules/proxy.h"
#include "engine/modules/real_ip.h"
#include "engine/modules/referer.h"
#include "engine/modules/stub_status.h"
#include "engine/modules/sub.h"
#include "http/request.h"

namespace moonphase::engine {

// A request's last slots are the filters'.
static_assert(kModEnd <= http::Request::kCtxGunzip && kModEnd <= LocConf::kModules);

void register_modules() {
  register_charset();
  register_echo();
  register_empty_gif();
  register_headers_more();
  register_proxy();
  register_grpc();
  register_auth_request();
  // In nginx's order within their phases.
  register_real_ip();
  register_limit_req();
  register_limit_conn();
  register_mirror();
  register_stub_status();
  register_memc();
  register_referer();
  register_sub();
}

}  // namespace moonphase::engine
