// What handlers of a handshake ask of it. The first three are for the ClientHello's callback.
#pragma once

#include "net/tls.h"

namespace moonphase::net {

// The client offers TLS 1.3 and gets it.
bool hello_takes_tls13(const TlsSession* tls);
// The name that the client asks for; empty: none, or nonsense.
Str hello_server_name(const TlsSession* tls);
// The session that OpenSSL will look up by its id; empty: none.
Str hello_session_id(const TlsSession* tls);
bool is_tls13(const TlsSession* tls);
std::string session_id(const SSL_SESSION* session);
void free_session_if(SSL_SESSION* session, bool owned);

}  // namespace moonphase::net
