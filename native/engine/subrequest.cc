// Subrequests (ngx_http_subrequest).
#include "engine/lifecycle.h"
#include "engine/locations.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "http/uri.h"

namespace moonphase::engine {

namespace {

void append_postponed(Request* r, Request* sr) {
  auto* entry = r->pool->make<http::Postponed>();
  entry->request = sr;
  if (r->conn->active == r && !r->postponed) r->conn->active = sr;
  http::Postponed** end = &r->postponed;
  while (*end) end = &(*end)->next;
  *end = entry;
}

}  // namespace

int subrequest(Request* r, Str uri, Str args, Request** psr, http::PostSubrequest* ps,
               unsigned flags) {
  if (r->subrequests == 0) {
    MOONPHASE_LOG(r, kLogErr, 0, "subrequests cycle while processing \"%.*s\"", STR(uri));
    return kError;
  }
  if (r->main->count >= 65535 - 1000) {
    MOONPHASE_LOG(r, kLogCrit, 0, "request reference counter overflow while processing \"%.*s\"",
                  STR(uri));
    return kError;
  }
  if (r->subrequest_in_memory) {
    MOONPHASE_LOG(r, kLogErr, 0, "nested in-memory subrequest \"%.*s\"", STR(uri));
    return kError;
  }

  auto* sr = r->pool->make<Request>();
  sr->pool = r->pool;
  sr->conn = r->conn;
  sr->main = r->main;
  sr->parent = r;
  sr->srv = r->srv;
  sr->loc = r->srv->conf;
  sr->generation = r->generation;
  sr->headers_in = r->headers_in;
  sr->body = r->body;
  sr->method = http::kGet;
  sr->method_name = "GET";
  sr->http_version = r->http_version;
  sr->http_protocol = r->http_protocol;
  sr->request_line = r->request_line;
  sr->unparsed_uri = r->unparsed_uri;
  sr->schema = r->schema;
  sr->host_in_line = r->host_in_line;
  sr->header_bytes = r->header_bytes;
  sr->uri = uri;
  sr->args = args;
  http::set_exten(sr);
  MOONPHASE_LOG(r, kLogDebug, 0, "http subrequest \"%.*s?%.*s\"", STR(uri), STR(args));

  sr->subrequest_in_memory = flags & kSubInMemory;
  sr->waited = flags & kSubWaited;
  sr->background = flags & kSubBackground;
  sr->filter_need_in_memory = sr->subrequest_in_memory;
  sr->main_filter_need_in_memory = r->main_filter_need_in_memory;
  sr->filters = ~0u;
  sr->post_subrequest = ps;
  sr->read_event_handler = empty_handler;
  sr->write_event_handler = start_request;
  sr->variables = r->variables;
  sr->internal = true;
  sr->discard_body = r->discard_body;
  sr->expect_tested = true;
  sr->uri_changes = 11;
  sr->subrequests = r->subrequests - 1;
  sr->start_sec = now().wall_sec();
  sr->start_msec = now().wall_ms % 1000;
  if (!sr->background) append_postponed(r, sr);
  r->main->count++;
  *psr = sr;

  if (flags & kSubClone) {
    sr->method = r->method;
    sr->method_name = r->method_name;
    sr->loc = r->loc;
    sr->valid_location = r->valid_location;
    sr->valid_unparsed_uri = r->valid_unparsed_uri;
    sr->content_handler = r->content_handler;
    sr->phase_handler = r->phase_handler;
    sr->write_event_handler = run_phases;
    sr->ncaptures = r->ncaptures;
    sr->captures_data = r->captures_data;
    if (r->captures) {
      size_t n = static_cast<size_t>(plan(r).max_captures);
      sr->captures = r->pool->array<int>(n);
      std::memcpy(sr->captures, r->captures, n * sizeof(int));
    }
    update_location(sr);
  }
  post_request(sr);
  return kOk;
}

}  // namespace moonphase::engine
