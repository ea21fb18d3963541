// SSL_CTX objects, made of the `ssl_*` and `lua_ssl_*` directives. What is wrong with them is said
// in nginx's words.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/tls.h"

namespace moonphase::net {

struct TlsContextDeleter {
  void operator()(SSL_CTX* ctx) const;
};
using TlsContext = std::unique_ptr<SSL_CTX, TlsContextDeleter>;

// What both sides of a connection have. Files by absolute path; certificates and keys also as
// "data:PEM".
struct TlsSettings {
  std::vector<std::string> protocols;  // "TLSv1.2" …
  std::string ciphers;                 // empty: OpenSSL's own
  std::vector<std::string> certificates, keys;
  std::string password_file;
  std::string trusted_certificate, crl;
  int verify_depth = 1;
  std::vector<std::pair<std::string, std::string>> conf_commands;
};

struct TlsClientSettings : TlsSettings {
  bool http2 = false;  // nothing else is spoken: ALPN says so
  std::string key_log;
};

struct TlsServerSettings : TlsSettings {
  enum Verify : uint8_t { kOff, kOn, kOptional, kOptionalNoCa } verify = kOff;
  std::string client_certificate;
  std::string dhparam, ecdh_curve = "auto";
  bool prefer_server_ciphers = false;
  size_t buffer_size = 16384;
  std::vector<std::string> session_cache;  // the arguments of ssl_session_cache
  bool session_tickets = true;
  std::vector<std::string> ticket_keys;
  int64_t session_timeout = 300;  // seconds
  bool early_data = false;
  bool stapling = false;
  std::string stapling_file, stapling_responder;
  bool stapling_verify = false;
  bool reject_handshake = false;
  bool store_sessions = false, fetch_sessions = false;  // the owner does
  bool by_name = false;  // certificates come with the handshake: use_certificate()
};

// Null with *error. What is done without is added to *warnings.
TlsContext make_client_context(const TlsClientSettings& settings, std::string* error);
TlsContext make_server_context(const TlsServerSettings& settings,
                               std::vector<std::string>* warnings, std::string* error);

// A handshake's own certificate and key, as settings name them. False: *error.
bool use_certificate(TlsSession* tls, const std::string& certificate, const std::string& key,
                     const std::string& password_file, std::string* error);

// Tickets that processes with the same secret read as their own.
void derive_ticket_keys(SSL_CTX* ctx, Str secret);
// The client keeps the session itself.
bool has_ticket(const TlsSession* tls);
// Bytes written; 0: it does not fit.
size_t encode_session(const SSL_SESSION* session, char* to, size_t room);
SSL_SESSION* decode_session(Str bytes);  // null: nonsense

// The server that a connection is for has its own context, verification included.
void switch_context(SSL* ssl, SSL_CTX* ctx);

}  // namespace moonphase::net
