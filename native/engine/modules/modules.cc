#include "engine/modules/modules.h"

#include "engine/content.h"
#include "engine/modules/charset.h"
#include "engine/modules/echo.h"
#include "engine/modules/headers_more.h"
#include "engine/modules/memc.h"
#include "engine/modules/proxy.h"
#include "engine/modules/referer.h"

namespace moonphase::engine {

void register_modules() {
  register_charset();
  register_echo();
  register_empty_gif();
  register_headers_more();
  register_proxy();
  register_auth_request();
  register_memc();
  register_referer();
}

}  // namespace moonphase::engine
