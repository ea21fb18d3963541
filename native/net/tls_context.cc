#include "net/tls_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "net/staple.h"
#include "net/tls_files.h"
#include "net/tls_server.h"

namespace moonphase::net {

void TlsContextDeleter::operator()(SSL_CTX* ctx) const { SSL_CTX_free(ctx); }

namespace {

constexpr uint32_t kMostEarlyData = 16384;

bool fail(std::string* error, const std::string& text) {
  *error = tls_error_text(text.c_str());
  return false;
}

void set_protocols(SSL_CTX* ctx, const std::vector<std::string>& names) {
  static constexpr std::pair<const char*, uint64_t> kProtocols[] = {
      {"SSLv3", SSL_OP_NO_SSLv3},     {"TLSv1", SSL_OP_NO_TLSv1},
      {"TLSv1.1", SSL_OP_NO_TLSv1_1}, {"TLSv1.2", SSL_OP_NO_TLSv1_2},
      {"TLSv1.3", SSL_OP_NO_TLSv1_3},
  };
  for (const auto& [name, bit] : kProtocols) {
    if (std::find(names.begin(), names.end(), name) != names.end())
      SSL_CTX_clear_options(ctx, bit);
    else
      SSL_CTX_set_options(ctx, bit);
  }
  SSL_CTX_set_min_proto_version(ctx, 0);
  SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION);
}

// What is wrong with a certificate is a result that is asked for, not the end of the handshake.
int verified(int ok, X509_STORE_CTX* store) {
  auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  TlsSession* tls = ssl ? TlsSession::of(ssl) : nullptr;
  if (!tls || !tls->owner()) return 1;
  const Log& log = tls->owner()->tls_log();
  if (!log.enabled(kLogDebug)) return 1;
  X509* cert = X509_STORE_CTX_get_current_cert(store);
  char* subject = cert ? X509_NAME_oneline(X509_get_subject_name(cert), nullptr, 0) : nullptr;
  char* issuer = cert ? X509_NAME_oneline(X509_get_issuer_name(cert), nullptr, 0) : nullptr;
  log_write(log, tls->owner()->tls_log_context(), kLogDebug, 0,
            "verify:%d, error:%d, depth:%d, subject:\"%s\", issuer:\"%s\"", ok,
            X509_STORE_CTX_get_error(store), X509_STORE_CTX_get_error_depth(store),
            subject ? subject : "(none)", issuer ? issuer : "(none)");
  OPENSSL_free(subject);
  OPENSSL_free(issuer);
  return 1;
}

// For a context, or for one connection of it.
struct Holder {
  SSL_CTX* ctx;
  SSL* ssl;
  bool use(X509* x) const {
    return (ctx ? SSL_CTX_use_certificate(ctx, x) : SSL_use_certificate(ssl, x)) != 0;
  }
  bool use(EVP_PKEY* key) const {
    return (ctx ? SSL_CTX_use_PrivateKey(ctx, key) : SSL_use_PrivateKey(ssl, key)) != 0;
  }
  bool chain(STACK_OF(X509) * rest) const {
    return (ctx ? SSL_CTX_set0_chain(ctx, rest) : SSL_set0_chain(ssl, rest)) != 0;
  }
  std::string failed(const char* what, const std::string& name) const {
    return std::string(ctx ? "SSL_CTX_" : "SSL_") + what + "(\"" + name + "\") failed";
  }
};

bool use_certificate(const Holder& to, const std::string& cert, const std::string& key,
                     TlsPasswords* passwords, std::string* error) {
  const char* why = nullptr;
  X509Chain chain = load_certificates(cert, &why);
  if (why) return fail(error, "cannot load certificate \"" + cert + "\": " + why);
  if (!to.use(sk_X509_value(chain.get(), 0)))
    return fail(error, to.failed("use_certificate", cert));
  STACK_OF(X509)* rest = sk_X509_new_null();
  for (int i = 1; i < sk_X509_num(chain.get()); ++i) {
    X509* x = sk_X509_value(chain.get(), i);
    X509_up_ref(x);
    sk_X509_push(rest, x);
  }
  if (!to.chain(rest)) {
    sk_X509_pop_free(rest, X509_free);
    return fail(error, to.failed("set0_chain", cert));
  }
  KeyPtr pkey = load_key(key, passwords, &why);
  if (!pkey) return fail(error, "cannot load certificate key \"" + key + "\": " + why);
  if (!to.use(pkey.get())) return fail(error, to.failed("use_PrivateKey", key));
  return true;
}

bool trust(SSL_CTX* ctx, const std::string& file, bool announce, std::string* error) {
  if (file.empty()) return true;
  X509_STORE* store = SSL_CTX_get_cert_store(ctx);
  const char* why = nullptr;
  X509Chain chain = load_certificates(file, &why);
  if (why) return fail(error, "cannot load certificate \"" + file + "\": " + why);
  STACK_OF(X509_NAME)* names = announce ? sk_X509_NAME_new_null() : nullptr;
  for (int i = 0; i < sk_X509_num(chain.get()); ++i) {
    X509* x = sk_X509_value(chain.get(), i);
    if (X509_STORE_add_cert(store, x) != 1) {
      sk_X509_NAME_pop_free(names, X509_NAME_free);
      return fail(error, "X509_STORE_add_cert(\"" + file + "\") failed");
    }
    if (names) sk_X509_NAME_push(names, X509_NAME_dup(X509_get_subject_name(x)));
  }
  if (names) SSL_CTX_set_client_CA_list(ctx, names);
  ERR_clear_error();
  return true;
}

bool revoke(SSL_CTX* ctx, const std::string& file, std::string* error) {
  if (file.empty()) return true;
  const char* why = nullptr;
  if (load_crl(SSL_CTX_get_cert_store(ctx), file, &why)) return true;
  return fail(error, why[0] == 'X' ? std::string(why) + "(\"" + file + "\") failed"
                                   : "cannot load CRL \"" + file + "\": " + why);
}

bool run_commands(SSL_CTX* ctx, const TlsSettings& s, std::string* error) {
  if (s.conf_commands.empty()) return true;
  SSL_CONF_CTX* conf = SSL_CONF_CTX_new();
  SSL_CONF_CTX_set_flags(conf, SSL_CONF_FLAG_FILE | SSL_CONF_FLAG_SERVER | SSL_CONF_FLAG_CLIENT |
                                   SSL_CONF_FLAG_CERTIFICATE | SSL_CONF_FLAG_SHOW_ERRORS);
  SSL_CONF_CTX_set_ssl_ctx(conf, ctx);
  bool ok = true;
  for (const auto& [name, value] : s.conf_commands) {
    if (SSL_CONF_cmd(conf, name.c_str(), value.c_str()) > 0) continue;
    ok = fail(error, "SSL_CONF_cmd(\"" + name + "\", \"" + value + "\") failed");
    break;
  }
  if (ok && SSL_CONF_CTX_finish(conf) != 1) ok = fail(error, "SSL_CONF_finish() failed");
  SSL_CONF_CTX_free(conf);
  return ok;
}

TlsContext fresh(const TlsSettings& s, std::string* error) {
  ERR_clear_error();
  TlsContext made(SSL_CTX_new(TLS_method()));
  SSL_CTX* ctx = made.get();
  if (!ctx) {
    fail(error, "SSL_CTX_new() failed");
    return nullptr;
  }
  SSL_CTX_set_options(ctx, SSL_OP_SINGLE_DH_USE | SSL_OP_NO_COMPRESSION);
#ifdef SSL_OP_IGNORE_UNEXPECTED_EOF
  SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
#endif
  set_protocols(ctx, s.protocols);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_read_ahead(ctx, 1);
  return made;
}

bool set_ciphers(SSL_CTX* ctx, const TlsSettings& s, std::string* error) {
  if (s.ciphers.empty() || SSL_CTX_set_cipher_list(ctx, s.ciphers.c_str()) != 0) return true;
  return fail(error, "SSL_CTX_set_cipher_list(\"" + s.ciphers + "\") failed");
}

// `used`: what each of the settings' certificates became.
bool use_certificates(SSL_CTX* ctx, const TlsSettings& s, std::string* error,
                      std::vector<const X509*>* used = nullptr) {
  TlsPasswords passwords;
  if (!s.password_file.empty() && !passwords.read(s.password_file, error)) return false;
  for (size_t i = 0; i < s.certificates.size(); ++i) {
    if (i >= s.keys.size()) {
      *error = "no key is defined for certificate \"" + s.certificates[i] + "\"";
      return false;
    }
    if (!use_certificate(Holder{ctx, nullptr}, s.certificates[i], s.keys[i], &passwords, error))
      return false;
    if (used) used->push_back(SSL_CTX_get0_certificate(ctx));
  }
  return true;
}

// --- lua_ssl_key_log ---

void free_log(void*, void* ptr, CRYPTO_EX_DATA*, int, long, void*) {
  if (ptr) std::fclose(static_cast<FILE*>(ptr));
}

int key_log_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, free_log);
  return index;
}

void log_key(const SSL* ssl, const char* line) {
  auto* file = static_cast<FILE*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), key_log_index()));
  if (!file) return;
  std::fprintf(file, "%s\n", line);
  std::fflush(file);
}

bool open_key_log(SSL_CTX* ctx, const std::string& path, std::string* error) {
  if (path.empty()) return true;
  FILE* file = std::fopen(path.c_str(), "ae");
  if (!file) {
    *error = "open() \"" + path + "\" failed (" + std::to_string(errno) + ": " +
             std::strerror(errno) + ")";
    return false;
  }
  SSL_CTX_set_ex_data(ctx, key_log_index(), file);
  SSL_CTX_set_keylog_callback(ctx, log_key);
  return true;
}

}  // namespace

TlsContext make_client_context(const TlsClientSettings& s, std::string* error) {
  TlsContext made = fresh(s, error);
  SSL_CTX* ctx = made.get();
  if (!ctx || !use_certificates(ctx, s, error) || !set_ciphers(ctx, s, error)) return nullptr;
  if (!s.trusted_certificate.empty()) {
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, verified);
    SSL_CTX_set_verify_depth(ctx, s.verify_depth);
    if (!trust(ctx, s.trusted_certificate, false, error)) return nullptr;
  }
  if (s.http2 &&
      SSL_CTX_set_alpn_protos(ctx, reinterpret_cast<const unsigned char*>("\x02h2"), 3)) {
    fail(error, "SSL_CTX_set_alpn_protos() failed");
    return nullptr;
  }
  if (!revoke(ctx, s.crl, error) || !open_key_log(ctx, s.key_log, error) ||
      !run_commands(ctx, s, error))
    return nullptr;
  return made;
}

TlsContext make_server_context(const TlsServerSettings& s, std::vector<std::string>* warnings,
                               std::string* error) {
  using Settings = TlsServerSettings;
  TlsContext made = fresh(s, error);
  SSL_CTX* ctx = made.get();
  std::vector<const X509*> used;
  if (!ctx || !use_certificates(ctx, s, error, &used) || !set_ciphers(ctx, s, error))
    return nullptr;
  if (s.prefer_server_ciphers) SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
  if (s.verify != Settings::kOff) {
    if (s.verify != Settings::kOptionalNoCa && s.client_certificate.empty() &&
        s.trusted_certificate.empty()) {
      *error = "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client";
      return nullptr;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, verified);
  }
  SSL_CTX_set_verify_depth(ctx, s.verify_depth);
  if (!trust(ctx, s.client_certificate, true, error) ||
      !trust(ctx, s.trusted_certificate, false, error) || !revoke(ctx, s.crl, error))
    return nullptr;
  if (!s.dhparam.empty() && !use_dhparam(ctx, s.dhparam, error)) return nullptr;
  if (s.ecdh_curve != "auto" && SSL_CTX_set1_curves_list(ctx, s.ecdh_curve.c_str()) == 0) {
    fail(error, "SSL_CTX_set1_curves_list(\"" + s.ecdh_curve + "\") failed");
    return nullptr;
  }
  // Early data is at most one buffer; whether a request may be repeated is for who answers it.
  SSL_CTX_set_options(ctx, SSL_OP_NO_ANTI_REPLAY);
  if (s.early_data) SSL_CTX_set_max_early_data(ctx, kMostEarlyData);
  if (!set_server_sessions(ctx, s, error) || !run_commands(ctx, s, error)) return nullptr;
  if (s.stapling && !set_staples(ctx, s, used, warnings, error)) return nullptr;
  set_server_callbacks(ctx);
  return made;
}

bool use_certificate(TlsSession* tls, const std::string& certificate, const std::string& key,
                     const std::string& password_file, std::string* error) {
  ERR_clear_error();
  TlsPasswords passwords;
  if (!password_file.empty() && !passwords.read(password_file, error)) return false;
  return use_certificate(Holder{nullptr, tls->ssl()}, certificate, key, &passwords, error);
}

void switch_context(SSL* ssl, SSL_CTX* ctx) {
  SSL_set_SSL_CTX(ssl, ctx);
  // What SSL_set_SSL_CTX leaves as it was.
  SSL_set_verify(ssl, SSL_CTX_get_verify_mode(ctx), SSL_CTX_get_verify_callback(ctx));
  SSL_set_verify_depth(ssl, SSL_CTX_get_verify_depth(ctx));
  SSL_clear_options(ssl, SSL_get_options(ssl) & ~SSL_CTX_get_options(ctx) &
                             ~static_cast<uint64_t>(SSL_OP_NO_RENEGOTIATION));
  SSL_set_options(ssl, SSL_CTX_get_options(ctx));
}

}  // namespace moonphase::net
