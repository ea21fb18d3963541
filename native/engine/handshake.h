// Lua in a client's handshake: ssl_client_hello_by_lua*, ssl_certificate_by_lua*,
// ssl_session_fetch_by_lua*, ssl_session_store_by_lua*. Each handler runs in a request without a
// client; what they share is kept for the connection.
#pragma once

#include <lua.hpp>
#include <string>

#include "engine/runtime.h"
#include "net/tls.h"

namespace moonphase::engine {

// Connection::tls_lua. Made with the first handler; freed with the connection.
struct Handshake {
  http::Connection* c = nullptr;
  Generation* gen = nullptr;         // counted
  http::Request* request = nullptr;  // of the handler that runs
  uint32_t phase = 0;                // of the handler that runs or ran last
  uint32_t entered = 0;              // phases whose handler was started
  bool done = false, calling = false;
  Rc result = kOk;
  int code = 0;  // what the handler has returned
  std::string session_id;
  SSL_SESSION* session =
      nullptr;  // store: the new one, not counted; fetch: what Lua found, counted
  bool owns_session = false;
  int ctx_ref = LUA_NOREF;  // ngx.ctx of the handlers, which requests inherit
  net::Posted go_on{};
};

// Where a certificate is that a variable names: below the configuration's directory, unless it is
// an absolute path or "data:PEM".
std::string certificate_file(const Plan& plan, Str name);

// The hooks of http::HttpServer.
Rc handshake_client_hello(http::Connection* c, int* alert);
Rc handshake_certificate(http::Connection* c);
void handshake_new_session(http::Connection* c, SSL_SESSION* session);
SSL_SESSION* handshake_get_session(http::Connection* c, Str id);
void handshake_closed(http::Connection* c);

// Of a handler's request, or of a client's; null: none.
Handshake* handshake_of(const http::Request* r);

}  // namespace moonphase::engine
