#include "http/request_head.h"

#include <strings.h>

#include "http/connection.h"
#include "http/headers_in.h"
#include "http/uri.h"
#include "http/virtual_server.h"

namespace moonphase::http {

namespace {

Str between(const char* from, const char* to) { return {from, static_cast<size_t>(to - from)}; }

int refuse(Request* r, int status, const char* why) {
  log_write(r->conn->log, r->conn, kLogInfo, 0, "%s", why);
  return status;
}

}  // namespace

int take_request_line(Request* r, const LineParser& l) {
  r->request_line = between(l.start, l.end);
  r->method = l.method;
  r->method_name = between(l.start, l.method_end);
  if (l.protocol) r->http_protocol = between(l.protocol, l.end);
  r->http_version = l.major * 1000 + l.minor;
  r->unparsed_uri = between(l.uri_start, l.uri_end);
  r->empty_path_in_uri = l.empty_path;
  if (parse_request_uri(r, r->srv->merge_slashes) != kOk) {
    r->unparsed_uri = Str();
    return refuse(r, 400, "client sent invalid request");
  }
  if (l.schema_end) r->schema = between(l.schema_start, l.schema_end);
  if (l.host_end) {
    Str host = r->host_in_line = between(l.host_start, l.host_end);
    if (!validate_host(*r->pool, &host))
      return refuse(r, 400, "client sent invalid host in request line");
    set_virtual_server(r, host);
    // The buffer may still move.
    r->headers_in.server = r->pool->copy(host);
  }
  return kOk;
}

int check_headers(Request* r) {
  HeadersIn& in = r->headers_in;
  if (in.server.empty()) set_virtual_server(r, Str());
  if (!in.host && r->http_version > kVersion10)
    return refuse(r, 400, "client sent HTTP/1.1 request without \"Host\" header");
  if (in.content_length) {
    in.content_length_n = parse_offset(in.content_length->value);
    if (in.content_length_n < 0)
      return refuse(r, 400, "client sent invalid \"Content-Length\" header");
  }
  if (in.transfer_encoding) {
    if (r->http_version < kVersion11)
      return refuse(r, 400, "client sent HTTP/1.0 request with \"Transfer-Encoding\" header");
    Str te = in.transfer_encoding->value;
    if (te.size() != 7 || strncasecmp(te.data(), "chunked", 7) != 0) {
      log_write(r->conn->log, r->conn, kLogInfo, 0,
                "client sent unknown \"Transfer-Encoding\": \"%.*s\"", STR(te));
      return 501;
    }
    if (in.content_length)
      return refuse(
          r, 400,
          "client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time");
    in.chunked = true;
  }
  if (in.connection_type == HeadersIn::kKeepAlive && in.keep_alive)
    in.keep_alive_n = parse_offset(in.keep_alive->value);
  if (r->method == kConnect) return refuse(r, 405, "client sent CONNECT method");
  if (r->method == kTrace) return refuse(r, 405, "client sent TRACE method");
  return kOk;
}

}  // namespace moonphase::http
