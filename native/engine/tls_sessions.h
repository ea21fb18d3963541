// What TLS servers of all workers share, so that a client may take up its session with any of
// them: `ssl_session_cache shared:`, and the keys of session tickets.
#pragma once

#include "engine/runtime.h"
#include "net/tls.h"

namespace moonphase::engine {

// Opens the zones of a plan that is loaded, and gives its servers the keys. False: *error.
bool open_tls_sessions(Generation* g, std::string* error);

void keep_tls_session(const ServerConf* srv, const net::TlsSession* tls, SSL_SESSION* session);
// The caller's; null: unknown.
SSL_SESSION* find_tls_session(const ServerConf* srv, Str id);

}  // namespace moonphase::engine
