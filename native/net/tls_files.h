// Certificates, keys and what else TLS reads of files.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <vector>

namespace moonphase::net {

struct X509ChainDeleter {
  void operator()(STACK_OF(X509) * s) const { sk_X509_pop_free(s, X509_free); }
};
using X509Chain = std::unique_ptr<STACK_OF(X509), X509ChainDeleter>;
struct KeyDeleter {
  void operator()(EVP_PKEY* k) const { EVP_PKEY_free(k); }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, KeyDeleter>;

// ssl_password_file: one per line, tried in order.
class TlsPasswords {
 public:
  ~TlsPasswords();
  bool read(const std::string& path, std::string* error);
  std::vector<std::string> list;
};

// All certificates of a file or of "data:PEM"; at least one, or *why names the function that
// failed.
X509Chain load_certificates(const std::string& source, const char** why);
KeyPtr load_key(const std::string& source, TlsPasswords* passwords, const char** why);
// False: *why, which begins with "X509_" when the list could be read.
bool load_crl(X509_STORE* store, const std::string& path, const char** why);
bool use_dhparam(SSL_CTX* ctx, const std::string& path, std::string* error);

}  // namespace moonphase::net
