#include "net/tls_faults.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"

namespace moonphase::net {

namespace {

// Sorted. Alerts (from SSL_AD_REASON_OFFSET on) are a range of their own.
constexpr int kPeerReasons[] = {
    101 /* no suitable key share */,
    102 /* bad alert */,
    SSL_R_BAD_CHANGE_CIPHER_SPEC,
    108 /* bad key share */,
    110 /* bad extension */,
    SSL_R_BAD_DIGEST_LENGTH,
    112 /* missing sigalgs extension */,
    SSL_R_BAD_PACKET_LENGTH,
    118 /* no suitable signature algorithm */,
    122 /* bad key update */,
    SSL_R_BLOCK_CIPHER_PAD_IS_WRONG,
    SSL_R_CCS_RECEIVED_EARLY,
    137 /* decode error */,
    145 /* data between CCS and finished */,
    SSL_R_DATA_LENGTH_TOO_LONG,
    SSL_R_DIGEST_CHECK_FAILED,
    SSL_R_ENCRYPTED_LENGTH_TOO_LONG,
    SSL_R_ERROR_IN_RECEIVED_CIPHER_LIST,
    SSL_R_EXCESSIVE_MESSAGE_SIZE,
    154 /* FIN before CCS */,
    SSL_R_HTTPS_PROXY_REQUEST,
    SSL_R_HTTP_REQUEST,
    SSL_R_LENGTH_MISMATCH,
    160 /* length too short */,
    182 /* no renegotiation */,
    SSL_R_NO_CIPHERS_SPECIFIED,
    186 /* bad cipher */,
    SSL_R_NO_COMPRESSION_SPECIFIED,
    SSL_R_NO_SHARED_CIPHER,
    198 /* packet length too long */,
    205 /* invalid alert */,
    SSL_R_RECORD_LENGTH_MISMATCH,
    220 /* too many warning alerts */,
    226 /* clienthello tlsext */,
    227 /* parse tlsext */,
    234 /* callback failed */,
    235 /* no application protocol */,
    SSL_R_UNEXPECTED_MESSAGE,
    SSL_R_UNEXPECTED_RECORD,
    SSL_R_UNKNOWN_ALERT_TYPE,
    SSL_R_UNKNOWN_PROTOCOL,
    253 /* no common signature algorithms */,
    256 /* invalid compression list */,
    SSL_R_UNSUPPORTED_PROTOCOL,
    266 /* no shared group */,
    SSL_R_WRONG_VERSION_NUMBER,
    270 /* too much skipped early data */,
    SSL_R_BAD_LENGTH,
    SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC,
    291 /* application data after close notify */,
    292 /* bad legacy version */,
    293 /* mixed handshake and other data */,
    298 /* record too small */,
    300 /* session id too long */,
    306 /* bad ecpoint */,
    313 /* record layer failure */,
    335 /* renegotiate ext too long */,
    336 /* renegotiation encoding err */,
    337 /* renegotiation mismatch */,
    338 /* unsafe legacy renegotiation disabled */,
    345 /* scsv received when renegotiating */,
    373 /* inappropriate fallback */,
    376 /* no shared signature algorithms */,
    377 /* cert cb error */,
    396 /* version too low */,
    409 /* too many warn alerts */,
    443 /* bad record type */,
};
static_assert(std::is_sorted(std::begin(kPeerReasons), std::end(kPeerReasons)));

}  // namespace

int tls_fault_level_of(int why, int err, int peer_level) {
  if (why == SSL_ERROR_SYSCALL) {
    switch (err) {
      case ECONNRESET:
      case EPIPE:
      case ENOTCONN:
      case ETIMEDOUT:
      case ECONNREFUSED:
      case ENETDOWN:
      case ENETUNREACH:
      case EHOSTDOWN:
      case EHOSTUNREACH:
        return peer_level;
    }
    return kLogCrit;
  }
  if (why != SSL_ERROR_SSL) return kLogCrit;
  const int n = ERR_GET_REASON(ERR_peek_last_error());
  if (std::binary_search(std::begin(kPeerReasons), std::end(kPeerReasons), n) ||
      (n >= SSL_AD_REASON_OFFSET && n <= SSL_AD_REASON_OFFSET + 255))
    return peer_level;
  return kLogCrit;
}

}  // namespace moonphase::net
