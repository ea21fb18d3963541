// ngx.ocsp: requests for and responses about a certificate, which stands first in a DER chain with
// its issuer behind it.
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include <ctime>

#include "ngx/ssl_ffi.h"

using namespace moonphase;
using namespace moonphase::ngx;

namespace {

struct FreeRequest {
  void operator()(OCSP_REQUEST* p) const { OCSP_REQUEST_free(p); }
};
struct FreeResponse {
  void operator()(OCSP_RESPONSE* p) const { OCSP_RESPONSE_free(p); }
};
struct FreeBasic {
  void operator()(OCSP_BASICRESP* p) const { OCSP_BASICRESP_free(p); }
};
struct FreeId {
  void operator()(OCSP_CERTID* p) const { OCSP_CERTID_free(p); }
};

struct Pair {
  Cert cert, issuer;
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

bool seconds_of(const ASN1_GENERALIZEDTIME* t, long* out) {
  tm parts{};
  if (ASN1_TIME_to_tm(t, &parts) != 1) return false;
  *out = static_cast<long>(timegm(&parts));
  return true;
}

// Null, or what is wrong; longer texts go into `text`.
const char* check_response(OCSP_RESPONSE* response, const Pair& pair, long* valid,
                           std::string* text) {
  const std::unique_ptr<OCSP_BASICRESP, FreeBasic> basic(OCSP_response_get1_basic(response));
  if (!basic) return "OCSP_response_get1_basic() failed";
  STACK_OF(X509)* chain = sk_X509_new_null();
  sk_X509_push(chain, pair.issuer.get());
  const int verified = OCSP_basic_verify(basic.get(), chain, nullptr, OCSP_NOVERIFY);
  sk_X509_free(chain);
  if (verified != 1) return "OCSP_basic_verify() failed";
  const std::unique_ptr<OCSP_CERTID, FreeId> id(
      OCSP_cert_to_id(nullptr, pair.cert.get(), pair.issuer.get()));
  if (!id) return "OCSP_cert_to_id() failed";
  int status = 0;
  ASN1_GENERALIZEDTIME *from = nullptr, *until = nullptr;
  if (OCSP_resp_find_status(basic.get(), id.get(), &status, nullptr, nullptr, &from, &until) != 1)
    return "certificate status not found in the OCSP response";
  if (status != V_OCSP_CERTSTATUS_GOOD) {
    *text = std::string("certificate status \"") + OCSP_cert_status_str(status) +
            "\" in the OCSP response";
    return text->c_str();
  }
  constexpr long kClockSkew = 300;
  if (OCSP_check_validity(from, until, kClockSkew, -1) != 1) return "OCSP_check_validity() failed";
  if (until && !seconds_of(until, valid)) return "invalid nextUpdate time in certificate status";
  return nullptr;
}

const char* validate(const unsigned char* resp, size_t resp_len, const char* chain_data,
                     size_t chain_len, long* valid, std::string* text) {
  const std::unique_ptr<OCSP_RESPONSE, FreeResponse> response(
      d2i_OCSP_RESPONSE(nullptr, &resp, static_cast<long>(resp_len)));
  if (!response) return "d2i_OCSP_RESPONSE() failed";
  const int status = OCSP_response_status(response.get());
  if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
    *text = "OCSP response not successful (" + std::to_string(status) + ": " +
            OCSP_response_status_str(status) + ")";
    return text->c_str();
  }
  const Bio bio = bio_of(chain_data, chain_len);
  Pair pair;
  const char* why = read_leaf(bio.get(), &pair);
  if (!why) why = read_issuer(bio.get(), &pair);
  return why ? why : check_response(response.get(), pair, valid, text);
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
  const std::unique_ptr<OCSP_REQUEST, FreeRequest> request(OCSP_REQUEST_new());
  if (!request) return ssl_error(err, "OCSP_REQUEST_new() failed");
  std::unique_ptr<OCSP_CERTID, FreeId> id(
      OCSP_cert_to_id(nullptr, pair.cert.get(), pair.issuer.get()));
  if (!id) return ssl_error(err, "OCSP_cert_to_id() failed");
  if (!OCSP_request_add0_id(request.get(), id.get()))
    return ssl_error(err, "OCSP_request_add0_id() failed");
  (void)id.release();
  const int n = i2d_OCSP_REQUEST(request.get(), nullptr);
  if (n <= 0) return ssl_error(err, "i2d_OCSP_REQUEST() failed");
  const bool fits = static_cast<size_t>(n) <= *out_size;
  *out_size = static_cast<size_t>(n);
  if (!fits) {
    ssl_error(err, "output buffer too small");
    return kBusy;
  }
  return i2d_OCSP_REQUEST(request.get(), &out) > 0 ? int{kOk}
                                                   : ssl_error(err, "i2d_OCSP_REQUEST() failed");
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_validate_ocsp_response(
    const unsigned char* resp, size_t resp_len, const char* chain_data, size_t chain_len,
    unsigned char* errbuf, size_t* errbuf_size, long* valid) {
  ERR_clear_error();
  std::string text;
  const char* why = validate(resp, resp_len, chain_data, chain_len, valid, &text);
  if (!why) return kOk;
  ERR_clear_error();
  return ffi_error(errbuf, errbuf_size, "%s", why);
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_set_ocsp_status_resp(Request* r, const unsigned char* resp,
                                                            size_t resp_len, char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  if (SSL_get_tlsext_status_type(ssl) == -1) return kDeclined;
  SSL_CTX_set_tlsext_status_cb(SSL_get_SSL_CTX(ssl), status_is_set);
  void* copy = OPENSSL_memdup(resp, resp_len);
  if (!copy) return ffi_error(err, "OPENSSL_malloc() failed");
  if (SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(resp_len)) == 1) return kOk;
  OPENSSL_free(copy);
  return ffi_error(err, "SSL_set_tlsext_status_ocsp_resp() failed");
}
