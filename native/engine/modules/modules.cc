#include "engine/modules/modules.h"

#include "engine/modules/echo.h"
#include "engine/modules/headers_more.h"

namespace moonphase::engine {

void register_modules() {
  register_echo();
  register_headers_more();
}

}  // namespace moonphase::engine
