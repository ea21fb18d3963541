// How requests end (ngx_http_finalize_request and what belongs to it).
#include "engine/lifecycle.h"

#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/side_run.h"
#include "http/body.h"
#include "http/output.h"

namespace moonphase::engine {

using http::Connection;

void empty_handler(Request*) {}

// --- posted requests ---

namespace {

void run_posted_of(void* data) { run_posted(static_cast<Request*>(data)->conn); }

}  // namespace

void post_request(Request* r) {
  Request* main = r->main;
  if (r->posted_queued) return;
  r->posted_queued = true;
  r->posted_next = nullptr;
  (main->posted_tail ? main->posted_tail->posted_next : main->posted_head) = r;
  main->posted_tail = r;
  main->posted.fn = run_posted_of;
  main->posted.data = main;
  net::current_loop()->post(&main->posted);
}

void run_posted(Connection* c) {
  // The handler may end the request, and the connection with it.
  while (!c->destroyed && c->request) {
    Request* main = c->request;
    Request* r = main->posted_head;
    if (!r) return;
    main->posted_head = r->posted_next;
    if (!main->posted_head) main->posted_tail = nullptr;
    r->posted_queued = false;
    c->current = r;
    MOONPHASE_LOG(r, kLogDebug, 0, "http posted request: \"%.*s?%.*s\"", STR(r->uri), STR(r->args));
    r->write_event_handler(r);
  }
}

namespace {

void forget_posted(Request* main) {
  for (Request* r = main->posted_head; r; r = r->posted_next) r->posted_queued = false;
  main->posted_head = main->posted_tail = nullptr;
  if (main->posted.queued) net::current_loop()->cancel(&main->posted);
}

}  // namespace

// --- the end of main requests ---

Arena::Cleanup* on_request_end(Request* r, void (*fn)(void*), void* data) {
  Request* main = r->main;
  main->cleanup = main->pool->make<Arena::Cleanup>(fn, data, main->cleanup, nullptr);
  return main->cleanup;
}

namespace {

void run_request_end(Request* main) {
  while (Arena::Cleanup* cleanup = main->cleanup) {
    main->cleanup = cleanup->next;
    if (cleanup->fn) cleanup->fn(cleanup->data);
  }
}

void late_status(Request* main, int rc) {
  if (rc > 0 && (main->headers_out.status == 0 || main->conn->sent == 0))
    main->headers_out.status = rc;
}

// Drops a reference; with the last one the request and its connection go.
void close_request(Request* r, int rc) {
  Request* main = r->main;
  if (main->count == 0) MOONPHASE_LOG(main, kLogAlert, 0, "http request count is zero");
  if (--main->count > 0 || main->blocked_bit) return;
  free_request(main, rc);
  http::close_connection_with_request(main, rc);
}

void terminate_handler(Request* r) {
  r->count = 1;
  close_request(r, 0);
}

void terminate_request(Request* r, int rc) {
  Request* main = r->main;
  main->terminated = true;
  late_status(main, rc);
  run_request_end(main);
  if (main->blocked_bit) {
    main->conn->error = true;
    main->conn->active->write_event_handler = request_finalizer;
    return;
  }
  // Frames of the request may be below us on the stack: it goes when they have returned.
  forget_posted(main);
  main->write_event_handler = terminate_handler;
  post_request(main);
}

void finalize_connection(Request* r) {
  Request* main = r->main;
  if (main->count != 1) {
    if (r->discard_body) http::linger_discard(r);
    close_request(r, 0);
    return;
  }
  if (main->conn->eof) {
    close_request(main, 0);
    return;
  }
  if (main->reading_body) {
    main->keepalive = false;
    main->lingering_close = true;
  }
  free_request(main, 0);
  http::finish_request(main);
}

}  // namespace

void free_request(Request* r, int rc) {
  run_request_end(r);
  forget_posted(r);
  late_status(r, rc);
  if (r->logged) return;
  MOONPHASE_LOG(r, kLogDebug, 0, "http close request");
  r->logged = true;
  r->conn->current = r;
  r->conn->action = "logging request";
  log_request(r);
  r->conn->action = "closing request";
}

// --- finalize ---

void request_finalizer(Request* r) { finalize_request(r, kOk); }

namespace {

// A subrequest is complete: its parent goes on.
void finish_subrequest(Request* r) {
  Connection* c = r->conn;
  Request* parent = r->parent;
  if (r == c->active || r->background) {
    if (r->logged) {
      MOONPHASE_LOG(r, kLogAlert, 0, "subrequest: \"%.*s?%.*s\" logged again", STR(r->uri),
                    STR(r->args));
    } else {
      if (r->loc->log_subrequest) log_request(r);
      r->logged = true;
    }
    r->done = true;
    if (r->background) {
      finalize_connection(r);
      return;
    }
    r->main->count--;
    r->write_event_handler = empty_handler;
    if (parent->postponed && parent->postponed->request == r)
      parent->postponed = parent->postponed->next;
    c->active = parent;
  } else {
    r->write_event_handler = request_finalizer;
    if (r->waited) r->done = true;
  }
  post_request(parent);
}

void clear_timers(Connection* c) {
  c->set_read_timeout(0);
  c->write_delayed = false;
  c->set_write_timeout(0);
}

}  // namespace

void finalize_request(Request* r, int rc) {
  Connection* c = r->conn;
  MOONPHASE_LOG(r, kLogDebug, 0, "http finalize request: %d, \"%.*s?%.*s\" a:%d, c:%d", rc,
                STR(r->uri), STR(r->args), r == c->active, r->main->count);
  if (rc == kDone) {
    finalize_connection(r);
    return;
  }
  if (r->output_held && end_later(r, rc)) return;
  if (rc == kOk && r->filter_finalize) c->error = true;
  if (rc == kDeclined) {
    r->content_handler = nullptr;
    r->write_event_handler = run_phases;
    run_phases(r);
    return;
  }
  if (!r->is_main() && r->post_subrequest)
    rc = r->post_subrequest->handler(r, r->post_subrequest->data, rc);

  if (rc == kError || rc == 408 || rc == 499 || c->error) {
    terminate_request(r, rc);
    return;
  }
  if (rc >= 300 || rc == 201 || rc == 204) {
    if (rc == 444) {
      c->timedout = true;
      terminate_request(r, rc);
      return;
    }
    if (r->is_main()) clear_timers(c);
    finalize_request(r, special_response(r, rc));
    return;
  }

  if (!r->is_main()) {
    if (r->buffered_bits || r->postponed)
      set_writer(r);
    else
      finish_subrequest(r);
    return;
  }
  if (r->buffered_bits || c->buffered_bits || r->postponed) {
    set_writer(r);
    return;
  }
  if (r != c->active) {
    MOONPHASE_LOG(r, kLogAlert, 0, "http finalize non-active request: \"%.*s?%.*s\"", STR(r->uri),
                  STR(r->args));
    return;
  }
  r->done = true;
  r->read_event_handler = http::block_reading;
  r->write_event_handler = empty_handler;
  if (!r->post_action) r->request_complete = true;
  clear_timers(c);
  finalize_connection(r);
}

// --- sending what is held back ---

void set_writer(Request* r) {
  Connection* c = r->conn;
  r->read_event_handler = r->discard_body ? http::discarded_body_handler : http::test_reading;
  r->write_event_handler = writer;
  c->want_read(true);
  if (!c->write_delayed) {
    c->set_write_timeout(r->loc->send_timeout);
    c->want_write(true);
  }
}

void writer(Request* r) {
  Connection* c = r->conn;
  if (c->write_timedout) {
    MOONPHASE_LOG(r, kLogInfo, ETIMEDOUT, "client timed out");
    c->timedout = true;
    finalize_request(r, 408);
    return;
  }
  const http::CoreConf* conf = r->main->loc;
  if (c->write_delayed) return;  // limit_rate: its timer calls again
  if (r->output_held) return;    // a filter waits, and the request goes on when it is through

  int rc = http::output(r, nullptr);
  if (rc == kError) {
    finalize_request(r, rc);
    return;
  }
  if (r->buffered_bits || r->postponed || (r->is_main() && c->buffered_bits)) {
    if (!c->write_delayed && !r->output_held) {
      c->set_write_timeout(conf->send_timeout);
      c->want_write(true);
    }
    return;
  }
  r->write_event_handler = empty_handler;
  finalize_request(r, rc);
}

}  // namespace moonphase::engine
