// TLS of cosockets: what lua-resty-core's sslhandshake and its companions call.
#include "engine/running.h"
#include "ngx/socket_stream.h"
#include "ngx/ssl_ffi.h"

using namespace moonphase;
using namespace moonphase::ngx;
using engine::CoSocket;
using engine::StreamSocket;

SSL* moonphase::ngx::ssl_of(StreamSocket* u, char** err, const char* without) {
  if (!u || !StreamSocket::genuine(u) ||
      (!u->busy_connecting() && u->read_closed() && u->write_closed())) {
    ffi_error(err, "closed");
    return nullptr;
  }
  const bool own = u->kind() == StreamSocket::Kind::kOwn;
  net::TlsSession* tls = own ? static_cast<CoSocket*>(u)->tls() : nullptr;
  if (!tls) ffi_error(err, without);
  return tls ? tls->ssl() : nullptr;
}

MOONPHASE_FFI int ngx_http_lua_ffi_socket_tcp_sslhandshake(Request* r, StreamSocket* u, void* sess,
                                                           int enable_session_reuse,
                                                           NgxStr* server_name, int verify,
                                                           int ocsp_status_req, void* chain,
                                                           void* pkey, char** errmsg) {
  MOONPHASE_LOG(r, kLogDebug, 0, "lua tcp socket ssl handshake");
  if (u && !StreamSocket::genuine(u)) return ffi_error(errmsg, "closed");
  if (u && u->busy_connecting()) return ffi_error(errmsg, "socket busy connecting");
  if (!u || u->read_closed() || u->write_closed()) return ffi_error(errmsg, "closed");
  if (u->request() != r) return ffi_error(errmsg, "bad request");
  if (const char* why = busy(u, kBusyConnecting | kBusyReading | kBusyWriting))
    return ffi_error(errmsg, why);
  if (u->kind() != StreamSocket::Kind::kOwn)
    return ffi_error(errmsg, "not supported for downstream sockets");
  auto* s = static_cast<CoSocket*>(u);
  LuaCtx* ctx = engine::ctx_of(r);
  if (!ctx) return kNoReqCtx;

  CoSocket::TlsOptions options;
  options.session = static_cast<SSL_SESSION*>(sess);
  options.reuse_session = enable_session_reuse != 0;
  options.verify = verify != 0;
  options.status_request = ocsp_status_req != 0;
  if (server_name && server_name->data) {
    options.server_name = str(server_name->data, server_name->len);
    options.has_server_name = true;
  }
  options.chain = chain;
  options.key = pkey;
  const Rc rc = s->handshake(options);
  if (rc != kAgain && rc != kError) return rc;
  engine::wait_later(ctx, s->handshake_wait());
  // Only who waited is given the number of what is wrong with a certificate: lua-resty-core would
  // add the last handshake's.
  if (rc == kError) engine::wake_later(s->handshake_wait());
  return kAgain;
}

MOONPHASE_FFI int ngx_http_lua_ffi_socket_tcp_get_sslhandshake_result(Request* r, StreamSocket* u,
                                                                      void** sess, char** errmsg,
                                                                      int* openssl_error_code) {
  MOONPHASE_LOG(r, kLogDebug, 0, "lua cosocket get SSL handshake result for upstream: %p",
                static_cast<void*>(u));
  if (!StreamSocket::genuine(u) || u->kind() != StreamSocket::Kind::kOwn)
    return ffi_error(errmsg, "closed");
  auto* s = static_cast<CoSocket*>(u);
  *openssl_error_code = s->handshake_code;
  if (s->handshake_error) return ffi_error(errmsg, s->handshake_error);
  *sess = s->take_session();
  return kOk;
}

MOONPHASE_FFI void ngx_http_lua_ffi_ssl_free_session(void* sess) {
  if (const engine::Generation* g = engine::running()) {
    const Log& log = g->plan->error_log;
    if (log.enabled(kLogDebug))
      log_write(log, nullptr, kLogDebug, 0, "lua ssl free session: %p", sess);
  }
  SSL_SESSION_free(static_cast<SSL_SESSION*>(sess));
}

MOONPHASE_FFI int ngx_http_lua_socket_tcp_get_ssl_session(Request*, StreamSocket* u, void** sess,
                                                          char** errmsg) {
  *sess = nullptr;
  SSL* ssl = ssl_of(u, errmsg, "no session");
  if (!ssl) return kError;
  SSL_SESSION* session = SSL_get1_session(ssl);
  if (!session) return ffi_error(errmsg, "no session");
  if (!SSL_SESSION_is_resumable(session)) {
    SSL_SESSION_free(session);
    return ffi_error(errmsg, "not resumable");
  }
  *sess = session;
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_socket_tcp_get_ssl_pointer(Request*, StreamSocket* u,
                                                              void** pssl, char** errmsg) {
  *pssl = ssl_of(u, errmsg);
  return *pssl ? int{kOk} : int{kError};
}

MOONPHASE_FFI int ngx_http_lua_ffi_socket_tcp_get_ssl_ctx(Request*, StreamSocket* u, void** pctx,
                                                          char** errmsg) {
  SSL* ssl = ssl_of(u, errmsg);
  *pctx = ssl ? SSL_get_SSL_CTX(ssl) : nullptr;
  return ssl ? int{kOk} : int{kError};
}

MOONPHASE_FFI int ngx_http_lua_ffi_socket_tcp_settrustedstore(Request* r, StreamSocket* u,
                                                              void* store, char** errmsg) {
  if (!u || !StreamSocket::genuine(u) || u->read_closed() || u->write_closed())
    return ffi_error(errmsg, "closed");
  if (u->request() != r) return ffi_error(errmsg, "bad request");
  if (u->kind() != StreamSocket::Kind::kOwn)
    return ffi_error(errmsg, "not supported for downstream sockets");
  auto* s = static_cast<CoSocket*>(u);
  if (s->tls() && s->tls()->done())
    return ffi_error(errmsg,
                     "ssl handshake already done; trusted store cannot be changed on an "
                     "established TLS connection");
  s->set_trusted_store(store);
  return kOk;
}
