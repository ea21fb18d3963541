// ngx.ocsp: requests for and responses about a certificate, which stands first in a DER chain with
// its issuer behind it.
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include "net/staple.h"
#include "ngx/ssl_ffi.h"

using namespace moonphase;
using namespace moonphase::ngx;

namespace {

struct Pair {
  Cert cert, issuer;
  net::OcspSubject subject() const { return {cert.get(), issuer.get()}; }
};

// Null, or what is wrong with the chain.
const char* read_leaf(BIO* bio, Pair* pair) {
  if (!bio) return "BIO_new_mem_buf() failed";
  pair->cert.reset(d2i_X509_bio(bio, nullptr));
  return pair->cert ? nullptr : "d2i_X509_bio() failed";
}

const char* read_issuer(BIO* bio, Pair* pair) {
  if (BIO_eof(bio)) return "no issuer certificate in chain";
  pair->issuer.reset(d2i_X509_bio(bio, nullptr));
  return pair->issuer ? nullptr : "d2i_X509_bio() failed";
}

// Empty, or what is wrong.
std::string validate(Str response, const char* chain_data, size_t chain_len, long* valid) {
  const Bio bio = bio_of(chain_data, chain_len);
  Pair pair;
  const char* why = read_leaf(bio.get(), &pair);
  if (!why) why = read_issuer(bio.get(), &pair);
  if (why) return why;
  STACK_OF(X509)* chain = sk_X509_new_null();
  sk_X509_push(chain, pair.issuer.get());
  net::OcspAnswer answer;
  std::string wrong =
      net::check_ocsp_response(response, pair.subject(), {chain, nullptr, OCSP_NOVERIFY}, &answer);
  sk_X509_free(chain);
  if (std::string status = net::ocsp_status_error(answer); !status.empty()) return status;
  if (wrong.empty() && answer.ends) *valid = static_cast<long>(answer.until);
  return wrong;
}

// Without it OpenSSL sends no status.
int status_is_set(SSL*, void*) { return SSL_TLSEXT_ERR_OK; }

}  // namespace

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_get_ocsp_responder_from_der_chain(
    const char* chain_data, size_t chain_len, char* out, size_t* out_size, char** err) {
  ERR_clear_error();
  const Bio bio = bio_of(chain_data, chain_len);
  Pair pair;
  if (const char* why = read_leaf(bio.get(), &pair)) return ssl_error(err, why);
  STACK_OF(OPENSSL_STRING)* urls = X509_get1_ocsp(pair.cert.get());
  const char* url = urls ? sk_OPENSSL_STRING_value(urls, 0) : nullptr;
  if (!url) {
    X509_email_free(urls);
    return kDeclined;
  }
  int rc = kOk;
  size_t n = std::strlen(url);
  if (n > *out_size) {
    n = *out_size;
    rc = kBusy;
  } else {
    *out_size = n;
  }
  std::memcpy(out, url, n);
  X509_email_free(urls);
  if (const char* why = read_issuer(bio.get(), &pair)) return ssl_error(err, why);
  if (X509_check_issued(pair.issuer.get(), pair.cert.get()) != X509_V_OK)
    return ssl_error(err, "issuer certificate not next to leaf");
  return rc;
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_create_ocsp_request(const char* chain_data, size_t chain_len,
                                                           unsigned char* out, size_t* out_size,
                                                           char** err) {
  ERR_clear_error();
  const Bio bio = bio_of(chain_data, chain_len);
  Pair pair;
  if (const char* why = read_leaf(bio.get(), &pair)) return ssl_error(err, why);
  if (const char* why = read_issuer(bio.get(), &pair)) return ssl_error(err, why);
  const char* why = nullptr;
  const std::string der = net::ocsp_request(pair.subject(), &why);
  if (der.empty()) return ssl_error(err, why);
  const bool fits = der.size() <= *out_size;
  *out_size = der.size();
  if (!fits) {
    ssl_error(err, "output buffer too small");
    return kBusy;
  }
  put_bytes(reinterpret_cast<char*>(out), der);
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_validate_ocsp_response(
    const unsigned char* resp, size_t resp_len, const char* chain_data, size_t chain_len,
    unsigned char* errbuf, size_t* errbuf_size, long* valid) {
  ERR_clear_error();
  const std::string why =
      validate({reinterpret_cast<const char*>(resp), resp_len}, chain_data, chain_len, valid);
  if (why.empty()) return kOk;
  ERR_clear_error();
  return ffi_error(errbuf, errbuf_size, "%s", why.c_str());
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_set_ocsp_status_resp(Request* r, const unsigned char* resp,
                                                            size_t resp_len, char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  if (SSL_get_tlsext_status_type(ssl) == -1) return kDeclined;
  // ssl_stapling's own lets stand what is here.
  SSL_CTX* ctx = SSL_get_SSL_CTX(ssl);
  if (!net::staples_of(ctx)) SSL_CTX_set_tlsext_status_cb(ctx, status_is_set);
  void* copy = OPENSSL_memdup(resp, resp_len);
  if (!copy) return ffi_error(err, "OPENSSL_malloc() failed");
  if (SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(resp_len)) == 1) return kOk;
  OPENSSL_free(copy);
  return ffi_error(err, "SSL_set_tlsext_status_ocsp_resp() failed");
}
