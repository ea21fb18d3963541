// TLS to the server that a request is passed on to.
#include <arpa/inet.h>

#include <utility>

#include "base/clock.h"
#include "engine/handshake.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/upstream/tls_lua.h"
#include "engine/variables/variables.h"
#include "net/tls_client.h"

namespace moonphase::engine {

namespace {

bool is_address(const char* name) {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

}  // namespace

const Log& Upstream::tls_log() const { return r->conn->log; }
const LogContext* Upstream::tls_log_context() const { return r->conn; }

Str Upstream::ssl_name() {
  const UpstreamTls* tls_conf = conf->tls.get();
  Str name = tls_conf && tls_conf->has_name ? eval(r, tls_conf->name)
             : lua && !lua->host.empty()    ? lua->host
                                            : host;
  // "[::1]:443", "example.com:443": the port says nothing about the server.
  if (!name.empty() && name[0] != '[') name = name.substr(0, name.find(':'));
  return name;
}

// A session says who we are: it is not taken up where that may be somebody else the next time.
bool Upstream::reuses_sessions() const { return conf->tls->session_reuse && !conf->tls->by_name; }

// False: logged.
bool Upstream::use_certificate(const UpstreamTls& tls_conf, net::TlsSession* tls) {
  const Str certificate = eval(r, tls_conf.certificate);
  if (certificate.empty()) return true;
  std::string error;
  if (net::use_certificate(tls, certificate_file(plan(r), certificate),
                           certificate_file(plan(r), eval(r, tls_conf.key)),
                           tls_conf.settings.password_file, &error))
    return true;
  MOONPHASE_LOG(r, kLogErr, 0, "%s", error.c_str());
  return false;
}

void Upstream::begin_handshake() {
  r->conn->action = "SSL handshaking to upstream";
  UpstreamTls* tls_conf = conf->tls.get();
  if (!tls_conf) {
    MOONPHASE_LOG(r, kLogErr, 0, "no TLS configuration for the upstream");
    finalize(500);
    return;
  }
  if (!tls_conf->context) {
    std::string error;
    tls_conf->context = net::make_client_context(tls_conf->settings, &error);
    if (!tls_conf->context) {
      MOONPHASE_LOG(r, kLogErr, 0, "%s", error.c_str());
      finalize(500);
      return;
    }
  }
  net::TlsSession* tls = net::TlsSession::attach(stream_, tls_conf->context.get(), false, this);
  if (!tls) {
    finalize(500);
    return;
  }
  if (tls_conf->by_name && !use_certificate(*tls_conf, tls)) {
    finalize(500);
    return;
  }
  const Str name = tls_name_ = ssl_name();
  net::TlsClientOptions options;
  const char* text = r->pool->c_str(name);
  if (tls_conf->server_name && !name.empty() && name[0] != '[' && !is_address(text)) {
    MOONPHASE_LOG(r, kLogDebug, 0, "upstream SSL server name: \"%s\"", text);
    options.server_name = text;
  }
  if (reuses_sessions() && walk_.current) options.session = walk_.current->tls_session;
  if (net::prepare_client(tls, options)) {
    finalize(500);
    return;
  }
  tls_lua = ask_lua(*this);
  if (loc(r)->lua.proxy_ssl_verify) net::let_verify(tls_conf->context.get());
  if (tls_lua) net::set_questions(tls, &tls_lua->questions);
  stage_ = kHandshaking;
  set_timer(connect_timeout);
  handshake();
}

void Upstream::handshake() {
  // While Lua runs, log lines say so.
  if (!tls_lua || !tls_lua->side) r->conn->action = "SSL handshaking to upstream";
  const Rc rc = stream_->tls->handshake();
  if (rc == kAgain || stage_ == kOver) return;
  if (rc != kOk || !verified()) {
    next(kFailError);
    return;
  }
  if (tls_lua) {
    net::set_questions(stream_->tls, nullptr);
    end_asking(std::exchange(tls_lua, nullptr));
  }
  save_session();
  state->connect_time = now().monotonic_ms - start_ms_;
  stage_ = kSending;
  stream_->want_write(false);
  stream_->want_read(true);
  send();
}

bool Upstream::verified() {
  if (!conf->tls->verify) return true;
  const char* text;
  if (const long code = net::verify_result(stream_->tls, &text)) {
    MOONPHASE_LOG(r, kLogErr, 0, "upstream SSL certificate verify error: (%ld:%s)", code, text);
    return false;
  }
  if (net::host_matches(stream_->tls, std::string(tls_name_))) return true;
  MOONPHASE_LOG(r, kLogErr, 0, "upstream SSL certificate does not match \"%.*s\"", STR(tls_name_));
  return false;
}

// With TLS 1.3 a session that can be taken up again comes only after the handshake.
void Upstream::save_session() {
  if (!reuses_sessions() || !walk_.current) return;
  if (SSL_SESSION* session = net::get1_session(stream_->tls))
    net::free_session(std::exchange(walk_.current->tls_session, session));
}

}  // namespace moonphase::engine
