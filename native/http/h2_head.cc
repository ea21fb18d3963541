// A request's head over HTTP/2: fields to headers, with nginx's refusals.
#include <strings.h>

#include "http/h2_session.h"
#include "http/h2_stream.h"
#include "http/headers_in.h"
#include "http/parse.h"
#include "http/uri.h"
#include "http/virtual_server.h"

namespace moonphase::http {

int H2Stream::refuse(int status, const char* why) {
  log_write(log, this, kLogInfo, 0, "%s", why);
  return status;
}

int H2Stream::field(Str name, Str value, bool* empty_name) {
  Request* r = request;
  const size_t length = name.size() + value.size();
  const size_t most = r->srv->large_buffers_size;
  *empty_name = name.empty();
  if (name.empty() || name.size() > most || value.size() > most || length > header_left_)
    return kError;
  header_left_ -= length;
  if (status_) return kOk;
  bool invalid = false;
  if (name[0] != ':') regular_seen_ = true;
  if (!valid(name, value, &invalid))
    status_ = 400;
  else if (name[0] == ':')
    status_ = regular_seen_ ? refuse(400, "client sent pseudo-header after regular header")
                            : pseudo(name.substr(1), value);
  else if (invalid && r->srv->ignore_invalid_headers)
    log_write(log, this, kLogInfo, 0, "client sent invalid header: \"%.*s\"", STR(name));
  else
    status_ = add_header(name, value);
  return kOk;
}

// What must not be there at all; `invalid`: ignore_invalid_headers drops it.
bool H2Stream::valid(Str name, Str value, bool* invalid) {
  const ServerCore* srv = request->srv;
  for (size_t i = name[0] == ':'; i < name.size(); ++i) {
    const auto c = static_cast<unsigned char>(name[i]);
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
        (c == '_' && srv->underscores_in_headers))
      continue;
    if (c <= 0x20 || c == 0x7f || c == ':' || (c >= 'A' && c <= 'Z')) {
      log_write(log, this, kLogInfo, 0, "client sent invalid header name: \"%.*s\"", STR(name));
      return false;
    }
    *invalid = true;
  }
  for (const char c : value) {
    if (c != '\0' && c != '\r' && c != '\n') continue;
    log_write(log, this, kLogInfo, 0, "client sent header \"%.*s\" with invalid value: \"%.*s\"",
              STR(name), STR(value));
    return false;
  }
  return true;
}

int H2Stream::add_header(Str name, Str value) {
  Request* r = request;
  if (name == "cookie") {
    auto* cookie = r->pool->make<Cookie>(r->pool->copy(value), nullptr);
    *last_cookie_ = cookie;
    last_cookie_ = &cookie->next;
    return 0;
  }
  if (++header_count_ > static_cast<unsigned>(r->srv->max_headers))
    return refuse(494, "client sent too many header lines");
  return headers_in_added(r, r->headers_in.list.add(*r->pool, name, value));
}

int H2Stream::pseudo(Str name, Str value) {
  if (name == "path") return path(value);
  if (name == "method") return method(value);
  if (name == "scheme") return scheme(value);
  if (name == "authority") return authority(value);
  log_write(log, this, kLogInfo, 0, "client sent unknown pseudo-header \":%.*s\"", STR(name));
  return 400;
}

int H2Stream::path(Str value) {
  Request* r = request;
  if (!r->unparsed_uri.empty()) return refuse(400, "client sent duplicate :path header");
  if (value.empty()) return refuse(400, "client sent empty :path header");
  bool good = value[0] == '/';
  for (const char c : value) good &= static_cast<unsigned char>(c) > 0x20 && c != 0x7f;
  r->unparsed_uri = {r->pool->c_str(value), value.size()};
  if (good && parse_request_uri(r, r->srv->merge_slashes) == kOk) return 0;
  r->unparsed_uri = Str();
  log_write(log, this, kLogInfo, 0, "client sent invalid :path header: \"%.*s\"", STR(value));
  return 400;
}

int H2Stream::method(Str value) {
  Request* r = request;
  if (!r->method_name.empty()) return refuse(400, "client sent duplicate :method header");
  if (value.empty()) return refuse(400, "client sent empty :method header");
  r->method_name = r->pool->copy(value);
  r->method = method_number(value);
  if (r->method != kUnknownMethod) return 0;
  for (const char c : value) {
    if ((c >= 'A' && c <= 'Z') || c == '_' || c == '-') continue;
    log_write(log, this, kLogInfo, 0, "client sent invalid method: \"%.*s\"", STR(value));
    return 400;
  }
  return 0;
}

int H2Stream::scheme(Str value) {
  Request* r = request;
  if (!r->schema.empty()) return refuse(400, "client sent duplicate :scheme header");
  if (value.empty()) return refuse(400, "client sent empty :scheme header");
  for (size_t i = 0; i < value.size(); ++i) {
    const char c = value[i], low = static_cast<char>(c | 0x20);
    if (low >= 'a' && low <= 'z') continue;
    if (i && ((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.')) continue;
    log_write(log, this, kLogInfo, 0, "client sent invalid :scheme header: \"%.*s\"", STR(value));
    return 400;
  }
  r->schema = r->pool->copy(value);
  return 0;
}

int H2Stream::authority(Str value) {
  Request* r = request;
  if (authority_.data()) return refuse(400, "client sent duplicate \":authority\" header");
  authority_ = {r->pool->c_str(value), value.size()};
  Str host = authority_;
  if (!validate_host(*r->pool, &host))
    return refuse(400, "client sent invalid \":authority\" header");
  set_virtual_server(r, host);
  r->headers_in.server = host;
  return 0;
}

// ngx_http_v2_run_request. 0 or a status.
int H2Stream::check_head() {
  Request* r = request;
  HeadersIn& in = r->headers_in;
  if (!r->srv->http2 && !listen->http2)
    return refuse(421,
                  "client attempted to request the server name for which the negotiated protocol "
                  "is disabled");
  if (r->method_name.empty()) return refuse(400, "client sent no :method header");
  if (r->schema.empty()) return refuse(400, "client sent no :scheme header");
  if (r->unparsed_uri.empty()) return refuse(400, "client sent no :path header");
  r->request_line = r->pool->join({r->method_name, " ", r->unparsed_uri, " HTTP/2.0"});

  if (cookies_) {
    size_t size = 0;
    for (const Cookie* c = cookies_; c; c = c->next) size += c->value.size() + 2;
    char* start = r->pool->bytes(size);
    char* p = start;
    for (const Cookie* c = cookies_; c; c = c->next) {
      p = put_bytes(p, c->value);
      if (c->next) p = put_bytes(p, "; ");
    }
    const Str all{start, static_cast<size_t>(p - start)};
    if (int status = headers_in_added(r, in.list.add(*r->pool, "cookie", all))) return status;
  }
  if (in.connection) return refuse(400, "client sent \"Connection\" header");
  if (in.keep_alive) return refuse(400, "client sent \"Keep-Alive\" header");
  if (in.transfer_encoding) return refuse(400, "client sent \"Transfer-Encoding\" header");
  if (in.upgrade) return refuse(400, "client sent \"Upgrade\" header");
  if (in.te && (in.te->same || in.te->value.size() != 8 ||
                strncasecmp(in.te->value.data(), "trailers", 8) != 0))
    return refuse(400, "client sent invalid \"TE\" header");
  if (in.server.empty())
    return refuse(400, "client sent neither \":authority\" nor \"Host\" header");
  if (authority_.data()) {
    if (in.host && in.host->value != authority_)
      return refuse(400, "client sent \":authority\" and \"Host\" headers with different values");
    // For $http_host.
    if (!in.host)
      if (int status = headers_in_added(r, in.list.add(*r->pool, "host", authority_)))
        return status;
  }
  if (in.content_length) {
    in.content_length_n = parse_offset(in.content_length->value);
    if (in.content_length_n < 0)
      return refuse(400, "client sent invalid \"Content-Length\" header");
    if (in.content_length_n > 0 && in_closed && rpos == rlast) {
      drop_body();
      return refuse(400, "client prematurely closed stream");
    }
  } else if (!in_closed || rpos < rlast) {
    in.chunked = true;
  }
  if (r->method == kConnect) return refuse(405, "client sent CONNECT method");
  if (r->method == kTrace) return refuse(405, "client sent TRACE method");
  return 0;
}

void H2Stream::begin() {
  Request* r = request;
  begun = true;
  set_read_timeout(0);
  if (error) {
    server->hooks.finalize(r, 499);
    if (!gone && server->hooks.run_posted) server->hooks.run_posted(this);
    return;
  }
  if (!status_) status_ = check_head();
  if (!status_ && listen->ssl) status_ = session->client->check_tls(r);
  if (status_) {
    if (!r->request_line.data() && !r->method_name.empty() && !r->unparsed_uri.empty())
      r->request_line = r->pool->join({r->method_name, " ", r->unparsed_uri, " HTTP/2.0"});
    server->hooks.reject(r, status_);
  } else {
    head_is_read(r);
    r->keepalive = true;
    server->hooks.process(r);
  }
  if (!gone && server->hooks.run_posted) server->hooks.run_posted(this);
}

}  // namespace moonphase::http
