// What a TLS session has come to, in the forms of nginx's $ssl_* variables.
#pragma once

#include "net/tls.h"
#include "net/tls_client.h"

namespace moonphase::net {

// Only the authority is unknown: what `optional_no_ca` lets pass.
bool verify_error_optional(long code);
bool has_peer_certificate(const TlsSession* tls);
void forget_session(const TlsSession* tls);

enum class TlsInfo : uint8_t {
  kProtocol,
  kCipher,
  kCiphers,
  kCurve,
  kCurves,
  kSigalg,
  kClientSigalg,
  kSessionId,
  kSessionReused,
  kEarlyData,
  kServerName,
  kAlpn,
  kClientRawCert,
  kClientCert,
  kClientEscapedCert,
  kClientSubject,
  kClientIssuer,
  kClientSubjectLegacy,
  kClientIssuerLegacy,
  kClientSerial,
  kClientFingerprint,
  kClientVerify,
  kClientNotBefore,
  kClientNotAfter,
  kClientDaysLeft,
};
// False: the variable is not found.
bool tls_info(const TlsSession* tls, TlsInfo what, std::string* out);

}  // namespace moonphase::net
