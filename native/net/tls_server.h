// The server's side of a context: callbacks of the handshake, sessions and their tickets.
#pragma once

#include <openssl/ssl.h>

#include <string>

#include "net/tls_context.h"

namespace moonphase::net {

bool set_server_sessions(SSL_CTX* ctx, const TlsServerSettings& settings, std::string* error);
// ssl_stapling_file: an OCSP response in DER, for clients that ask for one.
bool set_staple(SSL_CTX* ctx, const std::string& path, std::string* error);
void set_server_callbacks(SSL_CTX* ctx);

}  // namespace moonphase::net
