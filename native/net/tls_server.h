// The server's side of a context: callbacks of the handshake, sessions and their tickets.
#pragma once

#include <openssl/ssl.h>

#include <string>

#include "net/tls_context.h"

namespace moonphase::net {

bool set_server_sessions(SSL_CTX* ctx, const TlsServerSettings& settings, std::string* error);
void set_server_callbacks(SSL_CTX* ctx);

}  // namespace moonphase::net
