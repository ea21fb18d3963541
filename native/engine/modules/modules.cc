#include "engine/modules/modules.h"

#include "engine/modules/echo.h"
#include "engine/modules/headers_more.h"
#include "engine/modules/proxy.h"

namespace moonphase::engine {

void register_modules() {
  register_echo();
  register_headers_more();
  register_proxy();
  register_auth_request();
}

}  // namespace moonphase::engine
