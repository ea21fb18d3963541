// $ssl_*: of connections that speak TLS; not found elsewhere.
#include "engine/variables/core.h"
#include "http/connection.h"
#include "net/tls_info.h"

namespace moonphase::engine {

namespace {

using net::TlsInfo;

int info(Request* r, VarValue* v, Str, uintptr_t what) {
  const net::TlsSession* tls = r->conn->ssl ? r->conn->tls() : nullptr;
  std::string text;
  if (!tls || !net::tls_info(tls, static_cast<TlsInfo>(what), &text)) return not_found(v);
  // These say "nothing" by not being there.
  const auto kind = static_cast<TlsInfo>(what);
  if (text.empty() && (kind == TlsInfo::kServerName || kind == TlsInfo::kAlpn ||
                       kind == TlsInfo::kEarlyData || kind >= TlsInfo::kClientRawCert))
    return not_found(v);
  return found(v, r->pool->copy(text));
}

constexpr VariableDef row(const char* name, TlsInfo what) {
  return {name, info, nullptr, static_cast<uintptr_t>(what), 0};
}

}  // namespace

const VariableDef kTlsVariables[] = {
    row("ssl_protocol", TlsInfo::kProtocol),
    row("ssl_cipher", TlsInfo::kCipher),
    row("ssl_ciphers", TlsInfo::kCiphers),
    row("ssl_curve", TlsInfo::kCurve),
    row("ssl_curves", TlsInfo::kCurves),
    row("ssl_sigalg", TlsInfo::kSigalg),
    row("ssl_client_sigalg", TlsInfo::kClientSigalg),
    row("ssl_session_id", TlsInfo::kSessionId),
    row("ssl_session_reused", TlsInfo::kSessionReused),
    row("ssl_early_data", TlsInfo::kEarlyData),
    row("ssl_server_name", TlsInfo::kServerName),
    row("ssl_alpn_protocol", TlsInfo::kAlpn),
    row("ssl_client_cert", TlsInfo::kClientCert),
    row("ssl_client_raw_cert", TlsInfo::kClientRawCert),
    row("ssl_client_escaped_cert", TlsInfo::kClientEscapedCert),
    row("ssl_client_s_dn", TlsInfo::kClientSubject),
    row("ssl_client_i_dn", TlsInfo::kClientIssuer),
    row("ssl_client_s_dn_legacy", TlsInfo::kClientSubjectLegacy),
    row("ssl_client_i_dn_legacy", TlsInfo::kClientIssuerLegacy),
    row("ssl_client_serial", TlsInfo::kClientSerial),
    row("ssl_client_fingerprint", TlsInfo::kClientFingerprint),
    row("ssl_client_verify", TlsInfo::kClientVerify),
    row("ssl_client_v_start", TlsInfo::kClientNotBefore),
    row("ssl_client_v_end", TlsInfo::kClientNotAfter),
    row("ssl_client_v_remain", TlsInfo::kClientDaysLeft),
    {nullptr, nullptr, nullptr, 0, 0},
};

}  // namespace moonphase::engine
