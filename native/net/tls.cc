#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "net/stream.h"
#include "net/tls_faults.h"

namespace moonphase::net {

namespace {

int session_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

void debug(const TlsOwner* owner, const char* format, int n) {
  if (!owner) return;
  const Log& log = owner->tls_log();
  if (log.enabled(kLogDebug)) log_write(log, owner->tls_log_context(), kLogDebug, 0, format, n);
}

}  // namespace

TlsSession* TlsSession::of(const SSL* ssl) {
  return static_cast<TlsSession*>(SSL_get_ex_data(ssl, session_index()));
}

TlsSession* TlsSession::attach(Stream* stream, SSL_CTX* ctx, bool server, TlsOwner* owner) {
  ERR_clear_error();
  SSL* ssl = SSL_new(ctx);
  if (!ssl || SSL_set_fd(ssl, stream->fd()) == 0) {
    tls_log_error(owner->tls_log(), owner->tls_log_context(), kLogAlert, 0,
                  ssl ? "SSL_set_fd() failed" : "SSL_new() failed");
    SSL_free(ssl);
    return nullptr;
  }
  auto* tls = new TlsSession;
  tls->ssl_ = ssl;
  tls->stream_ = stream;
  tls->owner_ = owner;
  SSL_set_ex_data(ssl, session_index(), tls);
  if (server && SSL_CTX_get_max_early_data(ctx)) tls->early_ = kMayCome;
  if (server)
    SSL_set_accept_state(ssl);
  else
    SSL_set_connect_state(ssl);
  SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
#ifdef SSL_OP_NO_RENEGOTIATION
  if (server) SSL_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
#endif
  stream->tls = tls;
  return tls;
}

Str TlsSession::protocol() const {
  const unsigned char* name = nullptr;
  unsigned int n = 0;
  SSL_get0_alpn_selected(ssl_, &name, &n);
  return {reinterpret_cast<const char*>(name), n};
}

Rc TlsSession::handshake() {
  ERR_clear_error();
  errno = 0;
  size_t got = 0;
  int n = 1;
  if (early_ == kMayCome) {
    n = SSL_read_early_data(ssl_, &early_byte_, 1, &got);
    if (n == SSL_READ_EARLY_DATA_FINISH) {
      early_ = kNoEarly;
    } else if (n == SSL_READ_EARLY_DATA_SUCCESS) {
      early_ = kEarly;
      early_unread_ = got > 0;
    }
  }
  if (early_ == kNoEarly) n = SSL_do_handshake(ssl_);
  // A callback has ended the connection: the owner is gone.
  if (stream_ == nullptr) return kError;
  debug(owner_, "SSL_do_handshake: %d", n);
  if (n == 1) {
    log_handshake();
    done_ = more_ = true;
    read_waits_for_write = write_waits_for_read = false;
    return kOk;
  }
  const int why = SSL_get_error(ssl_, n);
  const int err = why == SSL_ERROR_SYSCALL ? errno : 0;
  debug(owner_, "SSL_get_error: %d", why);
  switch (why) {
    case SSL_ERROR_WANT_READ:
      stream_->want_write(false);
      stream_->want_read(true);
      return kAgain;
    case SSL_ERROR_WANT_WRITE:
      stream_->want_read(false);
      stream_->want_write(true);
      return kAgain;
    case SSL_ERROR_WANT_X509_LOOKUP:
    case SSL_ERROR_WANT_CLIENT_HELLO_CB:
    case SSL_ERROR_WANT_RETRY_VERIFY:
      stream_->want_read(false);
      stream_->want_write(false);
      return kAgain;
  }
  broken_ = true;
  const Log& log = owner_->tls_log();
  auto peer_fault = [&](const char* text) {
    const bool peers = err == 0 || err == ECONNRESET || err == EPIPE || err == ENOTCONN ||
                       err == ETIMEDOUT || err == ECONNREFUSED || err == ENETDOWN ||
                       err == ENETUNREACH || err == EHOSTDOWN || err == EHOSTUNREACH;
    const int level = peers ? owner_->tls_fault_level() : kLogAlert;
    if (log.enabled(level)) log_write(log, owner_->tls_log_context(), level, err, "%s", text);
  };
  if (why == SSL_ERROR_ZERO_RETURN || ERR_peek_error() == 0) {
    peer_fault("peer closed connection in SSL handshake");
  } else if (rejected) {
    peer_fault("handshake rejected");
    ERR_clear_error();
  } else {
    tls_log_error(log, owner_->tls_log_context(),
                  tls_fault_level_of(why, err, owner_->tls_fault_level()), err,
                  "SSL_do_handshake() failed");
  }
  return kError;
}

void TlsSession::log_handshake() const {
  const Log& log = owner_->tls_log();
  if (!log.enabled(kLogDebug)) return;
  char text[128] = "";
  if (const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl_)) {
    SSL_CIPHER_description(cipher, text, sizeof text);
    // One space between the words, no line end.
    char* to = text;
    for (const char* p = text; *p; ++p) {
      if (*p == '\n' || *p == '\r') break;
      if (*p == ' ' && to > text && to[-1] == ' ') continue;
      *to++ = *p;
    }
    *to = '\0';
    log_write(log, owner_->tls_log_context(), kLogDebug, 0, "SSL: %s, cipher: \"%s\"",
              SSL_get_version(ssl_), text);
    if (SSL_session_reused(ssl_))
      log_write(log, owner_->tls_log_context(), kLogDebug, 0, "SSL reused session");
  } else {
    log_write(log, owner_->tls_log_context(), kLogDebug, 0, "SSL no shared ciphers");
  }
}

// After a read or write that gave nothing. kIoAgain, 0 (end of stream; reads only) or kIoError.
ssize_t TlsSession::failed(int n, const char* what, int* error) {
  const bool reading = what[4] == 'r';  // SSL_read, SSL_peek are both "SSL_read()"
  const int why = SSL_get_error(ssl_, n);
  const int err = why == SSL_ERROR_SYSCALL ? errno : 0;
  if (why == SSL_ERROR_WANT_READ) {
    if (!reading) {
      write_waits_for_read = true;
      stream_->want_read(true);
    }
    return kIoAgain;
  }
  if (why == SSL_ERROR_WANT_WRITE) {
    if (reading) {
      read_waits_for_write = true;
      stream_->want_write(true);
    }
    return kIoAgain;
  }
  if (reading && (why == SSL_ERROR_ZERO_RETURN || ERR_peek_error() == 0) && err == 0) return 0;
  broken_ = true;
  *error = err ? err : reading ? EPROTO : EPIPE;
  if (owner_)
    tls_log_error(owner_->tls_log(), owner_->tls_log_context(),
                  tls_fault_level_of(why, err, owner_->tls_fault_level()), err, what);
  ERR_clear_error();
  return kIoError;
}

// As SSL_read_ex, while there may be early data; with *got 0: what comes next is none.
int TlsSession::read_early(void* buf, size_t n, size_t* got) {
  if (early_unread_) {
    early_unread_ = false;
    *static_cast<char*>(buf) = early_byte_;
    *got = 1;
    return 1;
  }
  switch (SSL_read_early_data(ssl_, buf, n, got)) {
    case SSL_READ_EARLY_DATA_SUCCESS:
      return 1;
    case SSL_READ_EARLY_DATA_FINISH:
      early_ = kNoEarly;
      *got = 0;
      return 1;
    default:
      return 0;
  }
}

ssize_t TlsSession::ended(int* error) {
  more_ = false;
  *error = over_error_;
  return *over_;
}

ssize_t TlsSession::recv(void* buf, size_t n, int* error) {
  ++reads;
  if (over_) return ended(error);
  size_t done = 0;
  while (done < n) {
    ERR_clear_error();
    errno = 0;
    int got;
    char* to = static_cast<char*>(buf) + done;
    if (early_ == kEarly) [[unlikely]] {
      size_t size = 0;
      got = read_early(to, n - done, &size);
      if (got > 0 && size == 0) {
        // The handshake goes on with the next call: this request has come before its end.
        if (!done) continue;
        more_ = true;
        return static_cast<ssize_t>(done);
      }
      if (got > 0) got = static_cast<int>(size);
    } else {
      got = SSL_read(ssl_, to, static_cast<int>(std::min<size_t>(n - done, 1 << 30)));
    }
    if (got > 0) {
      done += static_cast<size_t>(got);
      continue;
    }
    more_ = false;
    if (!done) return failed(got, "SSL_read() failed", error);
    const int why = SSL_get_error(ssl_, got);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
      // The socket tells only once of a reset, OpenSSL of what is wrong: the next call says so.
      over_ = failed(got, "SSL_read() failed", &over_error_);
      more_ = true;
    }
    return static_cast<ssize_t>(done);
  }
  more_ = true;
  return static_cast<ssize_t>(done);
}

ssize_t TlsSession::peek(void* buf, size_t n, int* error) {
  ++reads;
  if (over_) return ended(error);
  if (early_ == kEarly) return kIoAgain;
  ERR_clear_error();
  errno = 0;
  const int got = SSL_peek(ssl_, buf, static_cast<int>(n));
  if (got > 0) {
    more_ = true;
    return got;
  }
  more_ = false;
  return failed(got, "SSL_read() failed", error);
}

// One record, or the rest of the last one. False: *taken is what the call answers.
bool TlsSession::write(const char* data, size_t n, ssize_t* taken, int* error) {
  ERR_clear_error();
  errno = 0;
  const bool again = !pending_.empty();
  const char* from = again ? pending_.data() : data;
  const size_t size = again ? pending_.size() : n;
  int sent;
  if (early_ == kEarly) [[unlikely]] {
    size_t written = 0;
    sent = SSL_write_early_data(ssl_, from, size, &written) == 1 ? static_cast<int>(written) : 0;
  } else {
    sent = SSL_write(ssl_, from, static_cast<int>(size));
  }
  if (sent > 0) {
    const auto done = static_cast<size_t>(sent);
    if (again) {
      // The owner gives the same bytes now, though perhaps fewer at once.
      pending_.erase(0, done);
      *taken = static_cast<ssize_t>(std::min(done, n));
      credit_ += done - static_cast<size_t>(*taken);
    } else {
      *taken = sent;
    }
    return true;
  }
  *taken = failed(sent, "SSL_write() failed", error);
  if (*taken == kIoAgain && !again) pending_.assign(data, n);
  return false;
}

ssize_t TlsSession::send(const iovec* iov, int count, int* error) {
  char flat[16384];
  ssize_t total = 0;
  size_t offset = 0;  // in iov[0]
  while (count > 0) {
    // The next record: straight out of a large buffer, or gathered of small ones.
    const char* data = static_cast<const char*>(iov->iov_base) + offset;
    size_t n = std::min(iov->iov_len - offset, buffer_size_);
    if (n < buffer_size_ && count > 1) {
      n = 0;
      size_t skip = offset;
      for (int i = 0; i < count && n < buffer_size_; ++i, skip = 0) {
        const size_t part = std::min(iov[i].iov_len - skip, buffer_size_ - n);
        std::memcpy(flat + n, static_cast<const char*>(iov[i].iov_base) + skip, part);
        n += part;
      }
      data = flat;
    }
    ssize_t taken = 0;
    if (n == 0) return total;
    if (credit_) {
      taken = static_cast<ssize_t>(std::min(credit_, n));
      credit_ -= static_cast<size_t>(taken);
    } else if (!write(data, n, &taken, error)) {
      return total ? total : taken;
    }
    total += taken;
    offset += static_cast<size_t>(taken);
    while (count > 0 && offset >= iov->iov_len) {
      offset -= iov->iov_len;
      ++iov;
      --count;
    }
  }
  return total;
}

ssize_t TlsSession::sendfile(int fd, off_t offset, size_t n, int* error) {
  char buf[16384];
  ssize_t total = 0;
  while (n) {
    const ssize_t got = ::pread(fd, buf, std::min(n, buffer_size_), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      *error = errno;
      return total ? total : kIoError;
    }
    if (got == 0) return total;
    const iovec v{buf, static_cast<size_t>(got)};
    const ssize_t sent = send(&v, 1, error);
    if (sent < 0) return total ? total : sent;
    total += sent;
    offset += sent;
    n -= static_cast<size_t>(sent);
    if (sent < got) break;
  }
  return total;
}

void TlsSession::end(bool quiet) {
  Stream* stream = stream_;
  if (!stream) return;
  stream->tls = nullptr;
  stream_ = nullptr;
  if (done_ && !broken_ && !SSL_in_init(ssl_)) {
    ERR_clear_error();
    if (quiet) {
      SSL_set_quiet_shutdown(ssl_, 1);
      SSL_set_shutdown(ssl_, SSL_RECEIVED_SHUTDOWN | SSL_SENT_SHUTDOWN);
    } else {
      SSL_set_shutdown(ssl_, SSL_get_shutdown(ssl_) | SSL_RECEIVED_SHUTDOWN);
    }
    SSL_shutdown(ssl_);
    ERR_clear_error();
  }
  owner_ = nullptr;
  // One of its callbacks may be what ends it.
  current_loop()->defer_free(
      [](void* p) {
        auto* tls = static_cast<TlsSession*>(p);
        SSL_free(tls->ssl_);
        delete tls;
      },
      this);
}

std::string tls_error_text(const char* text) {
  std::string out(text);
  if (!ERR_peek_error()) return out;
  out += " (SSL:";
  constexpr size_t kMost = 1800;
  for (;;) {
    const char* data;
    int flags;
    const unsigned long n = ERR_peek_error_data(&data, &flags);
    if (n == 0) break;
    if (out.size() < kMost) {
      char one[256];
      ERR_error_string_n(n, one, sizeof one);
      out += ' ';
      out += one;
      if (*data && (flags & ERR_TXT_STRING)) {
        out += ':';
        out += data;
      }
    }
    ERR_get_error();
  }
  out += ')';
  return out;
}

void tls_log_error(const Log& log, const LogContext* context, int level, int err,
                   const char* text) {
  const std::string line = tls_error_text(text);
  if (log.enabled(level)) log_write(log, context, level, err, "%s", line.c_str());
}

}  // namespace moonphase::net
