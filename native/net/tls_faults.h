// Which of OpenSSL's errors are the peer's doing, as nginx sees it.
#pragma once

namespace moonphase::net {

// `why` is SSL_get_error's answer, `err` an errno. kLogCrit, or `peer_level` for what any peer can
// cause.
int tls_fault_level_of(int why, int err, int peer_level);

}  // namespace moonphase::net
