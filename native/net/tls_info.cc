#include "net/tls_info.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cctype>
#include <cstdio>
#include <memory>
#include <vector>

namespace moonphase::net {

namespace {

struct BioDeleter {
  void operator()(BIO* b) const { BIO_free(b); }
};
using Bio = std::unique_ptr<BIO, BioDeleter>;
struct CertDeleter {
  void operator()(X509* x) const { X509_free(x); }
};
using Cert = std::unique_ptr<X509, CertDeleter>;

Cert peer(const TlsSession* tls) { return Cert(SSL_get1_peer_certificate(tls->ssl())); }

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long n = BIO_get_mem_data(bio, &data);
  return n > 0 ? std::string(data, static_cast<size_t>(n)) : std::string();
}

std::string hex(const unsigned char* p, size_t n) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < n; ++i) {
    out += kDigits[p[i] >> 4];
    out += kDigits[p[i] & 15];
  }
  return out;
}

std::string pem(X509* cert) {
  Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), cert);
  std::string out = text_of(bio.get());
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

std::string name_text(X509_NAME* name) {
  Bio bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253);
  return text_of(bio.get());
}

std::string legacy_name(X509_NAME* name) {
  char* p = X509_NAME_oneline(name, nullptr, 0);
  std::string out = p ? p : "";
  OPENSSL_free(p);
  return out;
}

std::string time_text(const ASN1_TIME* t) {
  Bio bio(BIO_new(BIO_s_mem()));
  ASN1_TIME_print(bio.get(), t);
  return text_of(bio.get());
}

std::string days_left(const ASN1_TIME* end) {
  int days = 0, seconds = 0;
  if (!ASN1_TIME_diff(&days, &seconds, nullptr, end)) return "0";
  return days < 0 || seconds < 0 ? "0" : std::to_string(days);
}

std::string escape(const std::string& in) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (char c : in) {
    const auto u = static_cast<unsigned char>(c);
    if (std::isalnum(u) || c == '-' || c == '.' || c == '_' || c == '~') {
      out += c;
    } else {
      out += '%';
      out += kDigits[u >> 4];
      out += kDigits[u & 15];
    }
  }
  return out;
}

// $ssl_client_cert: every line but the first begins with a tab.
std::string tabbed(const std::string& in) {
  std::string out;
  for (char c : in) {
    out += c;
    if (c == '\n') out += '\t';
  }
  return out;
}

std::string cipher_list(SSL* ssl) {
  const unsigned char* raw = nullptr;
  const auto n = static_cast<size_t>(SSL_get0_raw_cipherlist(ssl, nullptr));
  const auto bytes =
      static_cast<size_t>(SSL_get0_raw_cipherlist(ssl, const_cast<unsigned char**>(&raw)));
  std::string out;
  for (size_t i = 0; n && raw && i + n <= bytes; i += n) {
    if (!out.empty()) out += ':';
    const SSL_CIPHER* cipher = SSL_CIPHER_find(ssl, raw + i);
    out += cipher ? std::string(SSL_CIPHER_get_name(cipher)) : "0x" + hex(raw + i, n);
  }
  return out;
}

std::string curve_name(int nid) {
  if (nid & TLSEXT_nid_unknown) {
    char text[16];
    snprintf(text, sizeof text, "0x%04x", nid & 0xffff);
    return text;
  }
  const char* name = OBJ_nid2sn(nid);
  return name ? name : "";
}

std::string curve_list(SSL* ssl) {
  const int n = static_cast<int>(SSL_get1_curves(ssl, nullptr));
  if (n <= 0) return {};
  std::vector<int> nids(static_cast<size_t>(n));
  SSL_get1_curves(ssl, nids.data());
  std::string out;
  for (int nid : nids) {
    if (!out.empty()) out += ':';
    out += curve_name(nid);
  }
  return out;
}

bool certificate_info(const TlsSession* tls, TlsInfo what, std::string* out) {
  const Cert cert = peer(tls);
  if (what == TlsInfo::kClientVerify) {
    if (!cert) {
      *out = "NONE";
      return true;
    }
    const char* text;
    const long rc = verify_result(tls, &text);
    *out = rc == X509_V_OK ? std::string("SUCCESS") : std::string("FAILED:") + text;
    return true;
  }
  if (!cert) return true;
  X509* x = cert.get();
  switch (what) {
    case TlsInfo::kClientRawCert:
      *out = pem(x);
      break;
    case TlsInfo::kClientCert:
      *out = tabbed(pem(x));
      break;
    case TlsInfo::kClientEscapedCert:
      *out = escape(pem(x) + "\n");
      break;
    case TlsInfo::kClientSubject:
      *out = name_text(X509_get_subject_name(x));
      break;
    case TlsInfo::kClientIssuer:
      *out = name_text(X509_get_issuer_name(x));
      break;
    case TlsInfo::kClientSubjectLegacy:
      *out = legacy_name(X509_get_subject_name(x));
      break;
    case TlsInfo::kClientIssuerLegacy:
      *out = legacy_name(X509_get_issuer_name(x));
      break;
    case TlsInfo::kClientSerial: {
      Bio bio(BIO_new(BIO_s_mem()));
      i2a_ASN1_INTEGER(bio.get(), X509_get_serialNumber(x));
      *out = text_of(bio.get());
      break;
    }
    case TlsInfo::kClientFingerprint: {
      unsigned char digest[EVP_MAX_MD_SIZE];
      unsigned int n = 0;
      if (X509_digest(x, EVP_sha1(), digest, &n)) *out = hex(digest, n);
      break;
    }
    case TlsInfo::kClientNotBefore:
      *out = time_text(X509_get0_notBefore(x));
      break;
    case TlsInfo::kClientNotAfter:
      *out = time_text(X509_get0_notAfter(x));
      break;
    case TlsInfo::kClientDaysLeft:
      *out = days_left(X509_get0_notAfter(x));
      break;
    default:
      return false;
  }
  ERR_clear_error();
  return true;
}

bool connection_info(SSL* ssl, TlsInfo what, std::string* out) {
  switch (what) {
    case TlsInfo::kProtocol:
      *out = SSL_get_version(ssl);
      return true;
    case TlsInfo::kCipher:
      if (const char* name = SSL_get_cipher_name(ssl)) *out = name;
      return true;
    case TlsInfo::kCiphers:
      *out = cipher_list(ssl);
      return true;
    case TlsInfo::kCurve:
      if (const auto nid = SSL_get_negotiated_group(ssl)) *out = curve_name(static_cast<int>(nid));
      return true;
    case TlsInfo::kCurves:
      *out = curve_list(ssl);
      return true;
    case TlsInfo::kSigalg:
    case TlsInfo::kClientSigalg: {
      int nid = 0;
      const long ok = what == TlsInfo::kSigalg ? SSL_get_signature_type_nid(ssl, &nid)
                                               : SSL_get_peer_signature_type_nid(ssl, &nid);
      if (ok && nid) *out = OBJ_nid2sn(nid);
      return true;
    }
    case TlsInfo::kSessionId:
      if (SSL_SESSION* session = SSL_get0_session(ssl)) {
        unsigned int n = 0;
        const unsigned char* id = SSL_SESSION_get_id(session, &n);
        *out = hex(id, n);
      }
      return true;
    case TlsInfo::kSessionReused:
      *out = SSL_session_reused(ssl) ? "r" : ".";
      return true;
    case TlsInfo::kEarlyData:
      if (!SSL_is_init_finished(ssl)) *out = "1";
      return true;
    case TlsInfo::kServerName:
      if (const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)) *out = name;
      return true;
    case TlsInfo::kAlpn: {
      const unsigned char* name = nullptr;
      unsigned int n = 0;
      SSL_get0_alpn_selected(ssl, &name, &n);
      out->assign(reinterpret_cast<const char*>(name), n);
      return true;
    }
    default:
      return false;
  }
}

}  // namespace

bool verify_error_optional(long code) {
  return code == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ||
         code == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
         code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
         code == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE;
}

bool has_peer_certificate(const TlsSession* tls) { return peer(tls) != nullptr; }

void forget_session(const TlsSession* tls) {
  SSL_CTX_remove_session(SSL_get_SSL_CTX(tls->ssl()), SSL_get0_session(tls->ssl()));
}

bool tls_info(const TlsSession* tls, TlsInfo what, std::string* out) {
  return what >= TlsInfo::kClientRawCert ? certificate_info(tls, what, out)
                                         : connection_info(tls->ssl(), what, out);
}

}  // namespace moonphase::net
