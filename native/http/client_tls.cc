// The handshake of a connection to a `listen … ssl` address, and what it means for requests.
#include <sys/socket.h>

#include <cerrno>

#include "http/client.h"
#include "http/virtual_server.h"
#include "net/tls_hello.h"
#include "net/tls_info.h"

namespace moonphase::http {

namespace {
constexpr unsigned char kHandshakeRecord = 0x16, kSslv2 = 0x80;
constexpr int kUnrecognizedName = 112;  // an alert of TLS
}  // namespace

ssize_t Client::peek_or_close(void* buf, size_t n) {
  const ssize_t got = stream->peek(buf, n);
  if (got > 0) return got;
  if (got == net::kIoAgain) return 0;
  if (got == 0)
    log_write(log, this, kLogInfo, 0, "client closed connection");
  else
    log_write(log, this, kLogInfo, stream->error(), "recv() failed");
  close();
  return 0;
}

// Goes on with the handshake, or begins it when the first byte is one of TLS: others speak plain
// HTTP, and are told so with their request.
void Client::handshake() {
  if (in_handshake_ || (proxy_header_due_ && !peek_proxy_header())) return;
  if (!stream->tls) {
    unsigned char first;
    if (!peek_or_close(&first, 1)) return;
    if (first != kHandshakeRecord && !(first & kSslv2)) {
      if (log.enabled(kLogDebug)) log_write(log, this, kLogDebug, 0, "plain http");
      end_handshake();
      return;
    }
    const ServerCore* srv = listen->default_server;
    if (!srv->tls_context)
      log_write(log, this, kLogErr, 0,
                "no \"ssl_certificate\" is defined in server listening on SSL port");
    if (!srv->tls_context || !net::TlsSession::attach(stream, srv->tls_context.get(), true, this)) {
      close();
      return;
    }
    stream->tls->set_buffer_size(srv->tls->buffer_size);
    if (log.enabled(kLogDebug)) log_write(log, this, kLogDebug, 0, "reusable connection: 0");
    if (log.enabled(kLogDebug))
      log_write(log, this, kLogDebug, 0, "https ssl handshake: 0x%02x", first);
  }
  in_handshake_ = true;
  const Rc rc = stream->tls->handshake();
  in_handshake_ = false;
  if (state == kClosed || rc == kAgain) return;
  if (rc != kOk) {
    close();
    return;
  }
  ssl = true;
  stream->want_write(false);
  end_handshake();
}

void Client::end_handshake() {
  state = kIdle;
  action = "waiting for request";
  if (stream->tls && stream->tls->protocol() == "h2" && tls_http2()) {
    start_http2();
    if (state != kClosed) want_read(true);
    return;
  }
  on_readable();
  if (state != kClosed) want_read(true);
}

void continue_handshake(Connection* c) {
  if (client(c)->state == Client::kHandshake) client(c)->handshake();
}

// The server is chosen as soon as its name is known: its protocols are to hold, too.
Rc Client::tls_client_hello(int* alert) {
  if (!hello_seen_) {
    hello_seen_ = true;
    if (tls_server_name(net::hello_server_name(stream->tls), alert) == kError) {
      *alert = kUnrecognizedName;
      return kError;
    }
  }
  return server->hooks.tls_client_hello ? server->hooks.tls_client_hello(this, alert) : kOk;
}

Rc Client::tls_server_name(Str name, int*) {
  const ServerCore* found = nullptr;
  Arena arena{256};
  Str host = name;
  if (!name.empty() && validate_host(arena, &host)) found = named_server(this, host);
  const ServerCore* srv = found ? found : listen->default_server;
  if (srv->tls && srv->tls->reject_handshake) {
    stream->tls->rejected = true;
    return kError;
  }
  if (!found) return name.empty() ? kDeclined : kOk;
  tls_server = found;
  log = found->conf->error_log;
  if (found != listen->default_server && found->tls_context) {
    net::switch_context(stream->tls->ssl(), found->tls_context.get());
    stream->tls->set_buffer_size(found->tls->buffer_size);
  }
  return kOk;
}

bool Client::tls_http2() const {
  return listen->http2 || (tls_server ? tls_server : listen->default_server)->http2;
}

Rc Client::tls_certificate() {
  return server->hooks.tls_certificate ? server->hooks.tls_certificate(this) : kOk;
}

void Client::tls_new_session(SSL_SESSION* session) {
  if (server->hooks.tls_new_session) server->hooks.tls_new_session(this, session);
}

SSL_SESSION* Client::tls_get_session(Str id) {
  return server->hooks.tls_get_session ? server->hooks.tls_get_session(this, id) : nullptr;
}

int Client::check_tls(Request* r) {
  using Settings = net::TlsServerSettings;
  if (!ssl) {
    log_write(log, this, kLogInfo, 0, "client sent plain HTTP request to HTTPS port");
    return 497;
  }
  const Settings* conf = r->srv->tls.get();
  if (!conf || conf->verify == Settings::kOff || !stream->tls) return 0;
  const char* text;
  const long rc = net::verify_result(stream->tls, &text);
  if (rc && (conf->verify != Settings::kOptionalNoCa || !net::verify_error_optional(rc))) {
    log_write(log, this, kLogInfo, 0, "client SSL certificate verify error: (%ld:%s)", rc, text);
    net::forget_session(stream->tls);
    return 495;
  }
  if (conf->verify == Settings::kOn && !net::has_peer_certificate(stream->tls)) {
    log_write(log, this, kLogInfo, 0, "client sent no required SSL certificate");
    net::forget_session(stream->tls);
    return 496;
  }
  return 0;
}

}  // namespace moonphase::http
