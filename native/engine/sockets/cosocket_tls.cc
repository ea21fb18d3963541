// sslhandshake: a cosocket's connection becomes TLS.
#include <utility>

#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/sockets/cosocket.h"
#include "net/tls_client.h"

namespace moonphase::engine {

SSL_CTX* LuaTlsConf::get(std::string* error) const {
  if (!context) context = net::make_client_context(settings, error);
  return context.get();
}

const Log& CoSocket::tls_log() const { return log_of(r_); }

Rc CoSocket::handshake(const TlsOptions& o) {
  handshake_error = nullptr;
  handshake_code = 0;
  reuse_session_ = true;
  if (net::TlsSession* tls = this->tls(); tls && tls->done()) {
    if (o.session) return kDone;
    reuse_session_ = o.reuse_session;
    save_session();
    return kOk;
  }
  std::string error;
  SSL_CTX* ctx = loc(r_)->lua.tls->get(&error);
  net::TlsSession* tls = nullptr;
  if (ctx)
    tls = net::TlsSession::attach(stream_, ctx, false, this);
  else
    log_failure(kLogErr, 0, error.c_str());
  if (!tls) {
    handshake_error = "failed to create ssl connection";
    return kError;
  }
  server_name_.assign(o.server_name);
  if (o.has_server_name)
    MOONPHASE_LOG(r_, kLogDebug, 0, "lua ssl server name: \"%.*s\"", STR(o.server_name));
  net::TlsClientOptions options;
  options.session = o.session;
  options.server_name = o.has_server_name ? server_name_.c_str() : nullptr;
  options.chain = o.chain;
  options.key = o.key;
  options.trusted_store = trusted_store_;
  options.status_request = o.status_request;
  handshake_error = net::prepare_client(tls, options);
  if (handshake_error) return kError;
  if (o.session)
    MOONPHASE_LOG(r_, kLogDebug, 0, "lua ssl set session: %p", static_cast<void*>(o.session));
  else
    reuse_session_ = o.reuse_session;
  set_trusted_store(nullptr);
  verify_ = o.verify;

  handshaking_ = connecting_ = true;
  const Rc rc = handshake_step();
  if (rc != kAgain) return rc;
  loop_->set_timer(&handshake_timer_, static_cast<uint64_t>(connect_timeout));
  return kAgain;
}

Rc CoSocket::handshake_step() {
  const Rc rc = tls()->handshake();
  MOONPHASE_LOG(r_, kLogDebug, 0, "ngx_ssl_handshake returned: %d", rc);
  return rc == kAgain ? rc : handshake_done(rc);
}

Rc CoSocket::handshake_done(Rc rc) {
  if (rc != kOk) return handshake_fail("handshake failed");
  if (verify_) {
    const char* text;
    if (const long code = net::verify_result(tls(), &text)) {
      if (log_errors()) {
        const std::string line =
            "lua ssl certificate verify error: (" + std::to_string(code) + ": " + text + ")";
        log_failure(kLogErr, 0, line.c_str());
      }
      return handshake_fail(text, static_cast<int>(code));
    }
    if (!server_name_.empty() && !net::host_matches(tls(), server_name_)) {
      if (log_errors()) {
        const std::string line = "lua ssl certificate does not match host \"" + server_name_ + "\"";
        log_failure(kLogErr, 0, line.c_str());
      }
      return handshake_fail("certificate host mismatch");
    }
  }
  loop_->clear_timer(&handshake_timer_);
  handshaking_ = connecting_ = false;
  stream_->want_read(false);
  stream_->want_write(false);
  save_session();
  return kOk;
}

Rc CoSocket::handshake_fail(const char* why, int code) {
  handshake_error = why;
  handshake_code = code;
  loop_->clear_timer(&handshake_timer_);
  handshaking_ = connecting_ = false;
  drop();
  return kError;
}

void CoSocket::save_session() {
  forget_session();
  if (!reuse_session_) return;
  session_ = net::get1_session(tls());
  if (session_)
    MOONPHASE_LOG(r_, kLogDebug, 0, "lua ssl save session: %p", static_cast<void*>(session_));
}

SSL_SESSION* CoSocket::take_session() {
  session_taken_ = true;
  return session_;
}

void CoSocket::forget_session() {
  if (session_ && !session_taken_) net::free_session(session_);
  session_ = nullptr;
  session_taken_ = false;
}

void CoSocket::cancel_handshake() {
  if (stream_) MOONPHASE_LOG(r_, kLogDebug, 0, "lua finalize socket");
  handshake_fail("closed");
}

void CoSocket::set_trusted_store(void* store) {
  net::free_store(std::exchange(trusted_store_, net::retain_store(store)));
}

}  // namespace moonphase::engine
