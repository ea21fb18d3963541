#include "net/ocsp.h"

#include <openssl/ocsp.h>

#include <ctime>
#include <memory>

namespace moonphase::net {

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
using Id = std::unique_ptr<OCSP_CERTID, FreeId>;

constexpr long kClockSkew = 300;  // seconds

bool seconds_of(const ASN1_GENERALIZEDTIME* t, int64_t* out) {
  tm parts{};
  if (ASN1_TIME_to_tm(t, &parts) != 1) return false;
  *out = timegm(&parts);
  return true;
}

}  // namespace

std::string ocsp_request(const OcspSubject& subject, const char** why) {
  const std::unique_ptr<OCSP_REQUEST, FreeRequest> request(OCSP_REQUEST_new());
  *why = "OCSP_REQUEST_new() failed";
  if (!request) return {};
  Id id(OCSP_cert_to_id(nullptr, subject.cert, subject.issuer));
  *why = "OCSP_cert_to_id() failed";
  if (!id) return {};
  *why = "OCSP_request_add0_id() failed";
  if (!OCSP_request_add0_id(request.get(), id.get())) return {};
  (void)id.release();
  const int n = i2d_OCSP_REQUEST(request.get(), nullptr);
  *why = "i2d_OCSP_REQUEST() failed";
  if (n <= 0) return {};
  std::string der(static_cast<size_t>(n), '\0');
  auto* p = reinterpret_cast<unsigned char*>(der.data());
  return i2d_OCSP_REQUEST(request.get(), &p) > 0 ? der : std::string();
}

std::string check_ocsp_response(Str der, const OcspSubject& subject, const OcspTrust& trust,
                                OcspAnswer* answer) {
  auto* p = reinterpret_cast<const unsigned char*>(der.data());
  const std::unique_ptr<OCSP_RESPONSE, FreeResponse> response(
      d2i_OCSP_RESPONSE(nullptr, &p, static_cast<long>(der.size())));
  if (!response) return "d2i_OCSP_RESPONSE() failed";
  const int status = OCSP_response_status(response.get());
  if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL)
    return "OCSP response not successful (" + std::to_string(status) + ": " +
           OCSP_response_status_str(status) + ")";
  const std::unique_ptr<OCSP_BASICRESP, FreeBasic> basic(OCSP_response_get1_basic(response.get()));
  if (!basic) return "OCSP_response_get1_basic() failed";
  if (OCSP_basic_verify(basic.get(), trust.chain, trust.store, trust.flags) != 1)
    return "OCSP_basic_verify() failed";
  const Id id(OCSP_cert_to_id(nullptr, subject.cert, subject.issuer));
  if (!id) return "OCSP_cert_to_id() failed";
  ASN1_GENERALIZEDTIME *from = nullptr, *until = nullptr;
  if (OCSP_resp_find_status(basic.get(), id.get(), &answer->status, nullptr, nullptr, &from,
                            &until) != 1) {
    answer->status = -1;
    return "certificate status not found in the OCSP response";
  }
  if (OCSP_check_validity(from, until, kClockSkew, -1) != 1) return "OCSP_check_validity() failed";
  answer->ends = until != nullptr;
  if (until && !seconds_of(until, &answer->until))
    return "invalid nextUpdate time in certificate status";
  return {};
}

std::string ocsp_status_error(const OcspAnswer& answer) {
  if (answer.status == V_OCSP_CERTSTATUS_GOOD || answer.status < 0) return {};
  return std::string("certificate status \"") + OCSP_cert_status_str(answer.status) +
         "\" in the OCSP response";
}

}  // namespace moonphase::net
