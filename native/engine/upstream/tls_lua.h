// proxy_ssl_certificate_by_lua*, proxy_ssl_verify_by_lua*: Lua in the handshake with the server, on
// the request that is passed on.
#pragma once

#include "engine/upstream/upstream.h"
#include "net/tls_ask.h"

namespace moonphase::engine {

struct SideRun;  // engine/side_run.h

// One handshake's; in the request's arena.
struct TlsByLua {
  Upstream* u = nullptr;
  net::TlsQuestions questions;
  uint32_t phase = 0;       // of the handler that runs or ran last
  SideRun* side = nullptr;  // it waits
  bool done = false, calling = false;
  Rc result = kOk;
  int code = 0;  // what the handler has returned
  net::Posted go_on{};
};

// Null: the location has no such handler.
TlsByLua* ask_lua(Upstream& u);
// The handshake is over: what runs still is ended.
void end_asking(TlsByLua* asked);

}  // namespace moonphase::engine
