#include "net/staple.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <strings.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/clock.h"
#include "base/encode.h"
#include "base/escape.h"

namespace moonphase::net {

namespace {

constexpr int64_t kEver = std::numeric_limits<int64_t>::max();
// A new response is asked for this long before the old one ends, not more often than that, and
// at least once an hour; a responder that failed is asked again after as long.
constexpr int64_t kMargin = 300, kHour = 3600;
constexpr Str kScheme = "http://";

}  // namespace

Staple::Staple(std::string name, X509* cert, STACK_OF(X509) * chain, X509_STORE* store)
    : name_(std::move(name)), chain_(chain ? X509_chain_up_ref(chain) : nullptr), store_(store) {
  X509_up_ref(cert);
  subject_.cert = cert;
  X509_STORE_up_ref(store);
}

Staple::~Staple() {
  X509_free(subject_.cert);
  X509_free(subject_.issuer);
  sk_X509_pop_free(chain_, X509_free);
  X509_STORE_free(store_);
}

bool Staple::read_file(const std::string& path, std::string* error) {
  BIO* bio = BIO_new_file(path.c_str(), "rb");
  if (!bio) {
    *error = tls_error_text(("BIO_new_file(\"" + path + "\") failed").c_str());
    return false;
  }
  OCSP_RESPONSE* response = d2i_OCSP_RESPONSE_bio(bio, nullptr);
  BIO_free(bio);
  if (!response) {
    *error = tls_error_text(("d2i_OCSP_RESPONSE_bio(\"" + path + "\") failed").c_str());
    return false;
  }
  response_.resize(static_cast<size_t>(std::max(i2d_OCSP_RESPONSE(response, nullptr), 0)));
  auto* p = reinterpret_cast<unsigned char*>(response_.data());
  i2d_OCSP_RESPONSE(response, &p);
  OCSP_RESPONSE_free(response);
  valid_ = kEver;
  return true;
}

bool Staple::find_issuer(std::string* warning) {
  for (int i = 0; i < sk_X509_num(chain_); ++i) {
    X509* x = sk_X509_value(chain_, i);
    if (X509_check_issued(x, subject_.cert) != X509_V_OK) continue;
    X509_up_ref(x);
    subject_.issuer = x;
    return true;
  }
  X509_STORE_CTX* ctx = X509_STORE_CTX_new();
  if (ctx && X509_STORE_CTX_init(ctx, store_, nullptr, nullptr) == 1 &&
      X509_STORE_CTX_get1_issuer(&subject_.issuer, ctx, subject_.cert) != 1)
    subject_.issuer = nullptr;
  X509_STORE_CTX_free(ctx);
  ERR_clear_error();
  if (subject_.issuer) return true;
  *warning = "issuer certificate not found for certificate \"" + name_ + "\"";
  return false;
}

bool Staple::parse_url(std::string url, std::string* warning) {
  const std::string where =
      " in OCSP responder \"" + url + "\" in the certificate \"" + name_ + "\"";
  auto refuse = [&](const char* why) {
    *warning = why + where;
    return false;
  };
  if (strncasecmp(url.c_str(), kScheme.data(), kScheme.size()) != 0)
    return refuse("invalid URL prefix");
  url.erase(0, kScheme.size());
  const size_t end = std::min(url.find_first_of("/?"), url.size());
  path_ = url.substr(end);
  if (path_.empty() || path_.front() == '?') path_.insert(0, 1, '/');
  std::string host = url.substr(0, end);
  const size_t colon = host.find(':', host.starts_with('[') ? host.find(']') : 0);
  if (colon != std::string::npos) {
    const char *p = host.data() + colon + 1, *last = host.data() + host.size();
    const auto [stop, error] = std::from_chars(p, last, port_);
    if (error != std::errc() || stop != last || port_ < 1 || port_ > 65535)
      return refuse("invalid port");
    host.resize(colon);
  }
  if (host.empty()) return refuse("no host");
  if (host.starts_with('[') && !host.ends_with(']')) return refuse("invalid host");
  host_ = std::move(host);
  return true;
}

bool Staple::find_responder(const std::string& url, bool verify, std::string* warning) {
  verify_ = verify;
  bool ok = find_issuer(warning);
  if (ok && !url.empty()) {
    ok = parse_url(url, warning);
  } else if (ok) {
    STACK_OF(OPENSSL_STRING)* urls = X509_get1_ocsp(subject_.cert);
    const char* own = urls ? sk_OPENSSL_STRING_value(urls, 0) : nullptr;
    if (own) {
      ok = parse_url(own, warning);
    } else {
      *warning = "no OCSP responder URL in the certificate \"" + name_ + "\"";
      ok = false;
    }
    X509_email_free(urls);
  }
  if (!ok) warning->insert(0, "\"ssl_stapling\" ignored, ");
  return ok;
}

std::string Staple::target(std::string* error) const {
  const char* why = nullptr;
  ERR_clear_error();
  const std::string der = ocsp_request(subject_, &why);
  if (der.empty()) {
    *error = tls_error_text(why);
    return {};
  }
  std::string text(base64_encoded_size(der.size()), '\0');
  text.resize(base64_encode(text.data(), der));
  std::string path = path_;
  if (!path.ends_with('/')) path += '/';
  append_percent(&path, text, Percent::kComponent);
  return path;
}

bool Staple::take(Str response, int64_t now, std::string* error) {
  ERR_clear_error();
  OcspAnswer answer;
  const OcspTrust trust{chain_, store_,
                        static_cast<unsigned long>(verify_ ? OCSP_TRUSTOTHER : OCSP_NOVERIFY)};
  std::string wrong = check_ocsp_response(response, subject_, trust, &answer);
  if (!wrong.empty()) wrong = tls_error_text(wrong.c_str());
  if (wrong.empty()) wrong = ocsp_status_error(answer);
  if (!wrong.empty()) {
    *error = wrong;
    failed(now);
    return false;
  }
  response_ = response;
  valid_ = answer.ends ? answer.until : kEver;
  loading = false;
  refresh_ = std::max(std::min(valid_ - kMargin, now + kHour), now + kMargin);
  return true;
}

void Staple::failed(int64_t now) {
  loading = false;
  refresh_ = now + kMargin;
}

// --- of a context ---

namespace {

void free_staples(void*, void* ptr, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<Staples*>(ptr);
}

int staples_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, free_staples);
  return index;
}

}  // namespace

const Staples* staples_of(SSL_CTX* ctx) {
  return static_cast<const Staples*>(SSL_CTX_get_ex_data(ctx, staples_index()));
}

int give_staple(SSL* ssl, void*) {
  unsigned char* given = nullptr;
  if (SSL_get_tlsext_status_ocsp_resp(ssl, &given) > 0) return SSL_TLSEXT_ERR_OK;
  const Staples* all = staples_of(SSL_get_SSL_CTX(ssl));
  const X509* cert = SSL_get_certificate(ssl);
  if (!all || !cert) return SSL_TLSEXT_ERR_NOACK;
  for (const auto& staple : *all) {
    if (!staple->is_for(cert)) continue;
    const Str response = staple->response(now().wall_sec());
    void* copy = response.empty() ? nullptr : OPENSSL_memdup(response.data(), response.size());
    if (copy) SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(response.size()));
    if (staple->asked) staple->asked(staple->asked_data);
    return copy ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

bool set_staples(SSL_CTX* ctx, const TlsServerSettings& s,
                 const std::vector<const X509*>& certificates, std::vector<std::string>* warnings,
                 std::string* error) {
  auto all = std::make_unique<Staples>();
  for (int rc = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_FIRST); rc == 1;
       rc = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_NEXT)) {
    X509* cert = SSL_CTX_get0_certificate(ctx);
    // A later one of the same kind has taken the place of an earlier one.
    const auto found = std::find(certificates.rbegin(), certificates.rend(), cert);
    const auto at = static_cast<size_t>(certificates.rend() - found);
    STACK_OF(X509)* chain = nullptr;
    SSL_CTX_get0_chain_certs(ctx, &chain);
    auto staple = std::make_shared<Staple>(at ? s.certificates[at - 1] : std::string(), cert, chain,
                                           SSL_CTX_get_cert_store(ctx));
    if (!s.stapling_file.empty()) {
      if (!staple->read_file(s.stapling_file, error)) return false;
    } else if (std::string warning;
               !staple->find_responder(s.stapling_responder, s.stapling_verify, &warning)) {
      warnings->push_back(std::move(warning));
      continue;
    }
    all->push_back(std::move(staple));
  }
  ERR_clear_error();
  SSL_CTX_set_ex_data(ctx, staples_index(), all.release());
  SSL_CTX_set_tlsext_status_cb(ctx, give_staple);
  return true;
}

}  // namespace moonphase::net
