// `listen … proxy_protocol`: the header in front of a connection's first bytes. As in nginx it has
// to arrive as a whole.
#include "http/client.h"

namespace moonphase::http {

bool Client::take_proxy_header() {
  proxy_header_due_ = false;
  action = "reading PROXY protocol";
  size_t n = read_proxy_header(unread(), log, this, &proxy_protocol);
  if (!n) {
    close();
    return false;
  }
  rpos += n;
  action = "waiting for request";
  return true;
}

// In front of a handshake, whose bytes are not ours to read.
bool Client::peek_proxy_header() {
  char buf[kLongestProxyHeader];
  const ssize_t n = peek_or_close(buf, sizeof buf);
  if (!n) return false;
  proxy_header_due_ = false;
  action = "reading PROXY protocol";
  size_t used = read_proxy_header({buf, static_cast<size_t>(n)}, log, this, &proxy_protocol);
  if (!used || stream->recv(buf, used) != static_cast<ssize_t>(used)) {
    close();
    return false;
  }
  action = "SSL handshaking";
  return true;
}

}  // namespace moonphase::http
