// The end of the header filters: the response's head as bytes.
#include <arpa/inet.h>
#include <netinet/in.h>

#include <charconv>

#include "http/connection.h"
#include "http/filters.h"
#include "http/gzip.h"
#include "http/head_fields.h"
#include "http/host.h"

namespace moonphase::http {

namespace {

char* put(char* p, Str s) { return put_bytes(p, s); }
char* put_number(char* p, int64_t n) { return std::to_chars(p, p + 20, n).ptr; }

// Status line, Server and Date of the most common answer, remade when the second or the server's
// name changes.
struct Prefix {
  int64_t second = -1;
  uint64_t server = 0;
  int tokens = -1;
  size_t size = 0;
  char text[256] = {};
};
// Constant-initialised, and looked up once: each mention of it would be a call.
constinit thread_local Prefix t_prefix;
__attribute__((noinline)) Prefix* prefix_of_thread() { return &t_prefix; }

size_t make_prefix(char* out, Str status, Str token) {
  char* p = put(out, "HTTP/1.1 ");
  p = put(p, status);
  p = put(p, "\r\n");
  if (!token.empty()) p = put(put(put(p, "Server: "), token), "\r\n");
  p = put(put(put(p, "Date: "), http_date()), "\r\n");
  return static_cast<size_t>(p - out);
}

Str ok_prefix(Request* r) {
  Prefix& x = *prefix_of_thread();
  const HttpServer* s = r->conn->server;
  int64_t sec = s->loop->clock().wall_sec();
  int tokens = r->loc->server_tokens;
  if (x.second != sec || x.server != s->serial || x.tokens != tokens) {
    Str token = server_token(r);
    if (token.size() > 120) return Str();
    x.second = sec;
    x.server = s->serial;
    x.tokens = tokens;
    x.size = make_prefix(x.text, "200 OK", token);
  }
  return {x.text, x.size};
}

// Where a redirect to a path leads: "http://host:port".
Str absolute_base(Request* r) {
  const CoreConf* loc = r->loc;
  Connection* c = r->conn;
  const sockaddr* local = c->local_address();
  Str host;
  char text[INET6_ADDRSTRLEN + 2];
  if (loc->server_name_in_redirect) {
    if (!r->srv->names.empty()) host = r->srv->names[0].name;
  } else if (!r->headers_in.server.empty()) {
    host = r->headers_in.server;
  } else {
    if (!local) return Str();
    if (local->sa_family == AF_INET) {
      inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(local)->sin_addr, text, sizeof text);
    } else if (local->sa_family == AF_INET6) {
      text[0] = '[';
      inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(local)->sin6_addr, text + 1,
                sizeof text - 2);
      std::strcat(text, "]");
    } else {
      std::strcpy(text, "unix:");
    }
    host = text;
  }
  int port = 0;
  if (loc->port_in_redirect && local) {
    if (local->sa_family == AF_INET)
      port = ntohs(reinterpret_cast<const sockaddr_in*>(local)->sin_port);
    if (local->sa_family == AF_INET6)
      port = ntohs(reinterpret_cast<const sockaddr_in6*>(local)->sin6_port);
    if (port == (c->ssl ? 443 : 80)) port = 0;
  }
  char colon[8] = ":";
  Str suffix;
  if (port) suffix = {colon, static_cast<size_t>(put_number(colon + 1, port) - colon)};
  return r->pool->join({c->ssl ? "https://" : "http://", host, suffix});
}

}  // namespace

int header_filter(Request* r) {
  if (r->header_sent) return kOk;
  r->header_sent = true;
  if (!r->is_main() || r->http_version < kVersion10) return kOk;
  if (r->method == kHead) r->header_only = true;

  HeadersOut& out = r->headers_out;
  const CoreConf* loc = r->loc;
  Connection* c = r->conn;
  if (out.last_modified_time != -1 && out.status != 200 && out.status != 206 && out.status != 304) {
    out.last_modified_time = -1;
    out.last_modified = nullptr;
  }
  if (c->server->closing) r->keepalive = false;

  Str status = out.status_line;
  char number[24];
  if (status.empty()) {
    if (out.status == 204) {
      r->header_only = true;
      out.content_type = Str();
      out.last_modified_time = -1;
      out.last_modified = nullptr;
      out.content_length = nullptr;
      out.content_length_n = -1;
    } else if (out.status == 304) {
      r->header_only = true;
    }
    status = status_line(out.status);
    if (status.empty()) {
      // At least three digits, and the space before the missing reason.
      char* p = number;
      if (out.status < 100) *p++ = '0';
      if (out.status < 10) *p++ = '0';
      p = put_number(p, out.status);
      *p++ = ' ';
      status = {number, static_cast<size_t>(p - number)};
    }
  }

  Str base;
  if (out.location && !out.location->value.empty() && out.location->value[0] == '/' &&
      loc->absolute_redirect) {
    base = absolute_base(r);
    if (base.empty()) return kError;
    out.location->hash = 0;
  }
  if (c->hosted) return hosted_header(r, status, base);

  if (c->framed) return send_fields(r, base);

  Str prefix;
  char made[512];
  if (!out.server && !out.date) {
    if (out.status == 200 && out.status_line.empty()) {
      prefix = ok_prefix(r);
    } else {
      Str token = server_token(r);
      if (status.size() + token.size() < sizeof made - 128)
        prefix = {made, make_prefix(made, status, token)};
    }
  }

  size_t size = 256 + out.content_type.size() + out.charset.size() + 12;
  if (prefix.empty()) size += status.size() + 256;
  size += prefix.size();
  if (!base.empty()) size += base.size() + out.location->value.size();
  for (auto it = out.list.begin(); it != out.list.end(); ++it)
    if (it->hash) size += it->name.size() + it->value.size() + 4;

  char* start = r->pool->bytes(size);
  char* p = start;
  if (!prefix.empty()) {
    p = put(p, prefix);
  } else {
    p = put(put(put(p, "HTTP/1.1 "), status), "\r\n");
    Str token = server_token(r);
    if (!out.server && !token.empty())
      p = put(put(put(p, "Server: "), token.substr(0, 120)), "\r\n");
    if (!out.date) p = put(put(put(p, "Date: "), http_date()), "\r\n");
  }

  if (!out.content_type.empty()) {
    p = put(p, "Content-Type: ");
    char* type = p;
    p = put(p, out.content_type);
    if (out.content_type_len == out.content_type.size() && !out.charset.empty()) {
      p = put(put(p, "; charset="), out.charset);
      // $sent_http_content_type shows the whole.
      out.content_type = {type, static_cast<size_t>(p - type)};
    }
    p = put(p, "\r\n");
  }
  if (!out.content_length && out.content_length_n >= 0)
    p = put(put_number(put(p, "Content-Length: "), out.content_length_n), "\r\n");
  if (!out.last_modified && out.last_modified_time != -1) {
    p = put(p, "Last-Modified: ");
    p += format_http_date(p, out.last_modified_time);
    p = put(p, "\r\n");
  }
  if (!base.empty()) {
    p = put(p, "Location: ");
    char* value = p;
    p = put(put(p, base), out.location->value);
    // For $sent_http_location.
    out.location->value = {value, static_cast<size_t>(p - value)};
    out.location->name = "Location";
    p = put(p, "\r\n");
  }
  if (r->chunked) p = put(p, "Transfer-Encoding: chunked\r\n");
  if (out.status == 101) {
    p = put(p, "Connection: upgrade\r\n");
  } else if (r->keepalive) {
    p = put(p, "Connection: keep-alive\r\n");
    if (loc->keepalive_header)
      p = put(put_number(put(p, "Keep-Alive: timeout="), loc->keepalive_header / 1000), "\r\n");
  } else {
    p = put(p, "Connection: close\r\n");
  }
  if (r->gzip_vary) {
    r->gzip_vary = loc->gzip && loc->gzip->vary;
    if (r->gzip_vary) p = put(p, "Vary: Accept-Encoding\r\n");
  }
  for (auto it = out.list.begin(); it != out.list.end(); ++it) {
    if (!it->hash) continue;
    p = put(put(p, it->name), ": ");
    p = put(put(p, it->value), "\r\n");
  }
  p = put(p, "\r\n");
  return write_header(r, start, p);
}

}  // namespace moonphase::http
