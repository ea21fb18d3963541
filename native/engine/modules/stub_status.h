// stub_status: what the server counts (ngx_http_stub_status_module).
#pragma once

namespace moonphase::engine {

void register_stub_status();

}  // namespace moonphase::engine
