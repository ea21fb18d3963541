// Answers that nginx makes itself: error_page, built-in pages, `return`, redirects
// (ngx_http_special_response.c).
#include "engine/lifecycle.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"
#include "http/body.h"
#include "http/output.h"

namespace moonphase::engine {

void set_location(Request* r, Str value) {
  http::clear_location(r);
  r->headers_out.location = r->headers_out.list.add(*r->pool, "Location", value);
}

void clean_header(Request* r) {
  http::HeadersOut fresh;
  r->headers_out = fresh;
}

namespace {

int builtin_page(Request* r, int status) {
  Str page = http::special_page(status);
  http::HeadersOut& out = r->headers_out;
  bool padding = false;
  Str tail;
  if (page.empty()) {
    out.content_length_n = 0;
  } else {
    tail = http::special_tail(r);
    padding = loc(r)->msie_padding && (r->headers_in.msie || r->headers_in.chrome) &&
              r->http_version >= http::kVersion10 && status >= 400;
    out.content_length_n = static_cast<int64_t>(page.size() + tail.size());
    if (padding) out.content_length_n += static_cast<int64_t>(http::msie_padding().size());
    out.content_type = "text/html";
    out.content_type_len = out.content_type.size();
    out.content_type_lowcase = {};
  }
  if (out.content_length) {
    out.content_length->hash = 0;
    out.content_length = nullptr;
  }
  http::clear_accept_ranges(r);
  http::clear_last_modified(r);
  http::clear_etag(r);

  int rc = http::send_header(r);
  if (rc == kError || r->header_only) return rc;
  if (page.empty()) return http::send_special(r, http::kSendLast);

  Arena& a = *r->pool;
  Chain* last = make_chain(a, buf_of(a, padding ? http::msie_padding() : tail));
  last->buf->last_buf = r->is_main();
  last->buf->last_in_chain = true;
  Chain* chain = padding ? make_chain(a, buf_of(a, tail), last) : last;
  return http::output(r, make_chain(a, buf_of(a, page), chain));
}

void discard(Request* r) {
  r->expect_tested = true;
  if (http::discard_body(r) != kOk) r->keepalive = false;
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

int send_error_page(Request* r, const http::ErrorPage& page) {
  int overwrite = page.overwrite;
  if (overwrite && overwrite != 200) r->expect_tested = true;
  if (overwrite >= 0) r->err_status = overwrite;

  Str uri = eval(r, page.target);
  if (uri.starts_with('/')) {
    size_t question = uri.find('?');
    Str args = question == Str::npos ? Str() : uri.substr(question + 1);
    if (r->method != http::kHead) {
      r->method = http::kGet;
      r->method_name = "GET";
    }
    return internal_redirect(r, uri.substr(0, question), args);
  }
  if (uri.starts_with('@')) return named_location(r, uri);

  discard(r);
  if (!is_redirect(overwrite)) r->err_status = 302;
  set_location(r, uri);
  return builtin_page(r, r->err_status);
}

}  // namespace

int special_response(Request* r, int status) {
  MOONPHASE_LOG(r, kLogDebug, 0, "http special response: %d, \"%.*s?%.*s\"", status, STR(r->uri),
                STR(r->args));
  r->err_status = status;

  switch (status) {
    case 400:
    case 413:
    case 414:
    case 497:
    case 495:
    case 496:
    case 500:
    case 501:
      r->keepalive = false;
  }
  if (status == 400 || (status >= 495 && status <= 497)) r->lingering_close = false;
  r->headers_out.content_type = {};

  const LocConf* conf = loc(r);
  if (!r->error_page && !conf->error_page.empty() && r->uri_changes != 0) {
    if (!conf->recursive_error_pages) r->error_page = true;
    for (const http::ErrorPage& page : conf->error_page)
      for (int code : page.codes)
        if (code == status) return send_error_page(r, page);
  }
  discard(r);
  if (status == 494 || (status >= 495 && status <= 497)) r->err_status = 400;
  return builtin_page(r, status);
}

int filter_finalize(Request* r, int status, bool keep_lua) {
  clean_header(r);
  void* upstream = r->ctx[kModUpstream];
  for (void*& ctx : r->ctx) ctx = nullptr;
  r->ctx[kModUpstream] = upstream;
  if (!keep_lua) r->lua = nullptr;
  r->filter_finalize = true;
  int rc = special_response(r, status);
  return rc == kOk || rc == kDone ? int{kError} : rc;  // kError drops what was on its way
}

int send_response(Request* r, int status, Str content_type, const Complex& text) {
  if (int rc = http::discard_body(r); rc != kOk) return rc;
  r->headers_out.status = status;
  Str body = eval(r, text);
  if (is_redirect(status)) {
    set_location(r, body);
    return status;
  }
  r->headers_out.content_length_n = static_cast<int64_t>(body.size());
  if (content_type.empty()) {
    if (http::set_content_type(r) != kOk) return 500;
  } else {
    r->headers_out.content_type = content_type;
    r->headers_out.content_type_len = content_type.size();
  }

  Buf* b = buf_of(*r->pool, body);
  b->memory = !body.empty();
  b->last_buf = r->is_main();
  b->last_in_chain = true;
  b->sync = !b->last_buf && !b->memory;

  int rc = http::send_header(r);
  if (rc == kError || rc > kOk || r->header_only) return rc;
  Chain out{b};
  return http::output(r, &out);
}

}  // namespace moonphase::engine
