// OCSP: the question about a certificate, and whether an answer to it is good.
#pragma once

#include <openssl/ssl.h>

#include <string>

#include "base/types.h"

namespace moonphase::net {

struct OcspSubject {
  X509* cert = nullptr;
  X509* issuer = nullptr;
};

// The question in DER. Empty: *why.
std::string ocsp_request(const OcspSubject& subject, const char** why);

// Whom an answer is believed: `chain` may have signed it; `store` and OCSP_… flags as
// OCSP_basic_verify takes them.
struct OcspTrust {
  STACK_OF(X509) * chain = nullptr;
  X509_STORE* store = nullptr;
  unsigned long flags = 0;
};

struct OcspAnswer {
  int status = -1;  // V_OCSP_CERTSTATUS_…; -1: it says nothing of the certificate
  bool ends = false;
  int64_t until = 0;  // seconds since the epoch, when it `ends`
};

// Empty, or what is wrong with it; what it says of the certificate is in *answer all the same.
std::string check_ocsp_response(Str der, const OcspSubject& subject, const OcspTrust& trust,
                                OcspAnswer* answer);
// `certificate status "revoked" in the OCSP response`; empty: it is good.
std::string ocsp_status_error(const OcspAnswer& answer);

}  // namespace moonphase::net
