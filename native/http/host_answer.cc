// Answers on their way to the server that has the connection, and its own on their way through our
// filters.
#include <cstdlib>

#include "http/filters.h"
#include "http/headers_out.h"
#include "http/host.h"

namespace moonphase::http {

namespace {

void empty_handler(Request*) {}

// What would break the form, and what Node refuses in a header.
char* put_clean(char* p, Str s) {
  for (char c : s) {
    const auto byte = static_cast<unsigned char>(c);
    *p++ = (byte < 0x20 && c != '\t') || byte == 0x7f ? ' ' : c;
  }
  return p;
}

constexpr uint32_t kOfLocations = slot_bit(Slot::kHeadersMore) | slot_bit(Slot::kEcho) |
                                  slot_bit(Slot::kHeaders) | slot_bit(Slot::kGunzip) |
                                  slot_bit(Slot::kCharset) | slot_bit(Slot::kGzip);

}  // namespace

int hosted_header(Request* r, Str status, Str base) {
  HeadersOut& out = r->headers_out;
  size_t size = status.size() + out.content_type.size() + out.charset.size() + base.size() + 256;
  for (const Header& h : out.list) size += h.name.size() + h.value.size() + 2;
  if (out.location) size += out.location->value.size();
  char* start = r->pool->bytes(size);
  char* p = put_bytes(put_clean(start, status), "\n");
  auto line = [&](Str name, auto... values) {
    p = put_bytes(put_bytes(p, name), "\n");
    ((p = put_clean(p, values)), ...);
    *p++ = '\n';
  };
  const Str token = server_token(r);
  if (!out.server && !token.empty()) line("Server", token.substr(0, 120));
  if (!out.content_type.empty()) {
    if (out.content_type_len == out.content_type.size() && !out.charset.empty())
      out.content_type = r->pool->join({out.content_type, "; charset=", out.charset});
    line("Content-Type", out.content_type);
  }
  if (r->expect_trailers) clear_content_length(r);
  if (!out.content_length && out.content_length_n >= 0) {
    char n[24];
    line("Content-Length",
         Str(n, static_cast<size_t>(
                    snprintf(n, sizeof n, "%lld", static_cast<long long>(out.content_length_n)))));
  }
  if (!out.last_modified && out.last_modified_time != -1) {
    char date[64];
    line("Last-Modified", Str(date, format_http_date(date, out.last_modified_time)));
  }
  if (!base.empty()) {
    out.location->value = r->pool->join({base, out.location->value});
    out.location->name = "Location";
    line("Location", out.location->value);
  }
  if (!r->keepalive && r->http_version < kVersion20) line("Connection", Str("close"));
  if (r->gzip_vary) line("Vary", Str("Accept-Encoding"));
  for (const Header& h : out.list) {
    if (!h.hash) continue;
    p = put_clean(p, h.name);
    *p++ = '\n';
    p = put_clean(p, h.value);
    *p++ = '\n';
  }
  static_cast<HostedConnection*>(r->conn)->head_size = static_cast<size_t>(p - start);
  return write_header(r, start, p);
}

// --- what is passed on ---

bool HostedConnection::pass_on(Request* r) {
  if (!passes_on_ || r != request || passed_ || r->header_sent) return false;
  passed_ = true;
  r->read_event_handler = passed_reader;
  r->write_event_handler = empty_handler;
  host_->pass_on(this);
  return true;
}

void HostedConnection::passed_reader(Request* r) { r->conn->want_read(false); }

bool HostedConnection::url_changed() const {
  return request->uri != uri_ || request->args != args_ || request->method_name != method_;
}

bool HostedConnection::filters_answer() const {
  return (request->loc->header_filters & kOfLocations) || server->hooks.filters_answer(request);
}

bool HostedConnection::logs_answer() const { return server->hooks.logs_answer(request); }

void HostedConnection::put_headers(Str lines) {
  Request* r = request;
  HeaderLine h;
  while (next_header_line(&lines, &h)) {
    // A NUL behind it, as all values have.
    const Str value{r->pool->c_str(h.value), h.value.size()};
    headers_out_set(r, r->pool->copy(h.name), value, false);
  }
}

// False: the request is over with `rc`.
bool HostedConnection::in_time(int rc) {
  if (rc != kError && rc <= kOk && !request->header_only) return true;
  answer_over_ = true;
  server->hooks.finalize(request, rc);
  return false;
}

void HostedConnection::take_head(int status, Str text, Str headers) {
  if (over_ || answering_) return;
  answering_ = true;
  Request* r = request;
  r->headers_out.status = status;
  if (!text.empty()) r->headers_out.status_line = r->pool->copy(text);
  put_headers(headers);
  r->disable_not_modified = true;
  if (in_time(send_header(r))) r->write_event_handler = passed_writer;
  run_posted();
}

// Bytes that the filters have let go of serve again.
void HostedConnection::free_answer(bool all) {
  for (Held** p = &answer_; *p;) {
    Held* h = *p;
    if (!all && h->buf.pos != h->buf.last) {
      p = &h->next;
      continue;
    }
    *p = h->next;
    std::free(h);
  }
}

bool HostedConnection::take_body(Str bytes, bool last) {
  if (over_ || answer_over_) return true;
  Request* r = request;
  auto* held = static_cast<Held*>(std::malloc(sizeof(Held) + bytes.size()));
  if (!held) std::abort();
  held = new (held) Held{};
  held->next = answer_;
  answer_ = held;
  Buf* b = &held->buf;
  if (!bytes.empty()) {
    b->start = b->pos = reinterpret_cast<char*>(held + 1);
    b->last = b->end = put_bytes(b->pos, bytes);
    b->memory = true;
  }
  b->flush = !last;
  b->last_buf = last;
  Chain chain{b, nullptr};
  const int rc = output(r, &chain);
  if (last || rc == kError || rc > kOk) {
    answer_over_ = true;
    server->hooks.finalize(r, rc);
  } else if (rc == kAgain || r->buffered_bits || buffered_bits) {
    want_write(true);
  }
  run_posted();
  if (over_) return true;
  free_answer(false);
  return writable_ && !answer_;
}

void HostedConnection::take_trailers(Str lines) {
  if (over_ || answer_over_) return;
  Request* r = request;
  HeaderLine h;
  while (next_header_line(&lines, &h)) r->headers_out.trailers.add(*r->pool, h.name, h.value);
}

void HostedConnection::passed_writer(Request* r) {
  auto* c = static_cast<HostedConnection*>(r->conn);
  const int rc = output(r, nullptr);
  if (rc == kError) {
    c->answer_over_ = true;
    c->server->hooks.finalize(r, rc);
    return;
  }
  if (c->over_) return;
  c->free_answer(false);
  if (r->buffered_bits || c->buffered_bits) c->want_write(true);
}

void HostedConnection::need_head() {
  if (!head_due_) return;
  head_due_ = false;
  Request* r = request;
  const std::string text = host_->sent_head(this);
  const Str head = text;
  for (size_t at = head.find('\n'); at + 1 < head.size();) {
    Str line = head.substr(at + 1, head.find("\r\n", at + 1) - at - 1);
    at += line.size() + 2;
    const size_t colon = line.find(": ");
    if (colon == Str::npos) break;
    const Str name = line.substr(0, colon);
    // The connection's, which have variables of their own.
    if (name == "Connection" || name == "Keep-Alive" || name == "Transfer-Encoding") continue;
    const Str value = line.substr(colon + 2);
    headers_out_set(r, r->pool->copy(name), {r->pool->c_str(value), value.size()}, false);
  }
}

HeadersOut& sent_headers(Request* r) {
  if (r->conn->hosted) static_cast<HostedConnection*>(r->conn)->need_head();
  return r->headers_out;
}

void HostedConnection::take_end(int status, size_t size, int64_t bytes, bool broken) {
  if (over_ || answering_) return;
  answering_ = answer_over_ = true;
  Request* r = request;
  r->header_sent = true;
  if (status) r->headers_out.status = status;
  r->header_size = static_cast<int64_t>(size);
  head_due_ = size > 0;
  sent = bytes;
  if (broken) {
    gone_ = eof = true;
    server->hooks.finalize(r, 499);
  } else {
    last_sent_ = true;
    r->response_sent = true;
    server->hooks.finalize(r, kOk);
  }
  run_posted();
  // It waits for something, and will be logged later.
  if (!over_) need_head();
}

}  // namespace moonphase::http
