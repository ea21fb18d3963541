// ssl_stapling: OCSP responses that a server sends along with its certificates, from a file or from
// the responder of each. Who fetches them sits elsewhere (engine/stapling).
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <vector>

#include "net/ocsp.h"
#include "net/tls_context.h"

namespace moonphase::net {

// One certificate of a context. Its times are seconds since the epoch.
class Staple {
 public:
  // Of a certificate that `chain` and `store` may be the issuer's home of; all are held.
  Staple(std::string name, X509* cert, STACK_OF(X509) * chain, X509_STORE* store);
  ~Staple();
  Staple(const Staple&) = delete;
  Staple& operator=(const Staple&) = delete;

  bool read_file(const std::string& path, std::string* error);
  // Whom to ask: `url`, or empty for the certificate's own. False: *warning, and nothing is
  // stapled.
  bool find_responder(const std::string& url, bool verify, std::string* warning);

  bool is_for(const X509* cert) const { return cert == subject_.cert; }
  const std::string& name() const { return name_; }
  // The responder; no host: nobody is asked.
  const std::string& host() const { return host_; }
  int port() const { return port_; }
  // The path that asks, with the question in it. Empty: *error.
  std::string target(std::string* error) const;

  // What handshakes get; empty: nothing (yet, or any more).
  Str response(int64_t now) const { return valid_ >= now ? Str(response_) : Str(); }
  bool due(int64_t now) const { return !host_.empty() && !loading && refresh_ < now; }
  // The responder's answer. False: *error, and the one before stays as long as it holds.
  bool take(Str response, int64_t now, std::string* error);
  void failed(int64_t now);

  bool loading = false;
  // A handshake has asked for it; null: nobody fetches.
  void (*asked)(void* data) = nullptr;
  void* asked_data = nullptr;

 private:
  bool find_issuer(std::string* warning);
  bool parse_url(std::string url, std::string* warning);
  std::string name_;
  OcspSubject subject_;
  STACK_OF(X509) * chain_;
  X509_STORE* store_;
  bool verify_ = false;
  std::string host_, path_;
  int port_ = 80;
  std::string response_;
  int64_t valid_ = -1, refresh_ = -1;
};
using Staples = std::vector<std::shared_ptr<Staple>>;

// For all certificates of the context. `names` are those of its settings, `certificates` what they
// became. False: *error; what only keeps a certificate from being stapled is added to *warnings.
bool set_staples(SSL_CTX* ctx, const TlsServerSettings& settings,
                 const std::vector<const X509*>& certificates, std::vector<std::string>* warnings,
                 std::string* error);
// Those of set_staples; null: none.
const Staples* staples_of(SSL_CTX* ctx);
// OpenSSL's callback: the staple of the handshake's certificate, unless Lua has given another.
int give_staple(SSL* ssl, void*);

}  // namespace moonphase::net
