// echo_before_body and echo_after_body.
#include "engine/lifecycle.h"
#include "engine/modules/echo_ctx.h"
#include "http/output.h"

namespace moonphase::engine::echo {

namespace {

int next_body(Request* r, Chain* in) { return http::next_body(r, http::Slot::kEcho, in); }

int send_lines(Request* r, const EchoProgram& program) {
  for (const EchoCommand& command : program) {
    Chain* out = line(r, command, evaluate(r, command));
    if (!out) continue;
    int rc = next_body(r, out);
    if (rc == kError || rc > kOk) return rc;
  }
  return kOk;
}

int header_filter(Request* r) {
  const EchoConf* conf = conf_of(r);
  Ctx* ctx = ctx_of(r);
  if (!conf || (conf->before_body.empty() && conf->after_body.empty())) {
    if (ctx) ctx->skip_filter = true;
    return http::next_header(r, http::Slot::kEcho);
  }
  MOONPHASE_LOG(r, kLogDebug, 0, "echo header filter, uri \"%.*s?%.*s\"", STR(r->uri),
                STR(r->args));
  if (!ctx) r->ctx[kModEcho] = make_ctx(r);
  http::clear_content_length(r);
  http::clear_accept_ranges(r);
  return http::next_header(r, http::Slot::kEcho);
}

// The answer goes on behind these buffers: they lose their marks of an end. True: there was one.
bool unmark_end(Chain* in) {
  bool last = false;
  for (Chain* c = in; c; c = c->next) {
    Buf* b = c->buf;
    if (!b->last_buf && !b->last_in_chain) continue;
    b->last_buf = b->last_in_chain = false;
    b->sync = true;
    last = true;
  }
  return last;
}

int send_end(Request* r) {
  Buf* b = make_buf(*r->pool);
  if (r->is_main() && !r->post_action) {
    b->last_buf = true;
  } else {
    b->sync = true;
    b->last_in_chain = true;
  }
  Chain out{b};
  return next_body(r, &out);
}

int body_filter(Request* r, Chain* in) {
  Ctx* ctx = ctx_of(r);
  if (!in || r->header_only || !ctx || ctx->skip_filter) return next_body(r, in);
  const EchoConf* conf = conf_of(r);
  if (!conf) return next_body(r, in);
  MOONPHASE_LOG(r, kLogDebug, 0, "echo body filter, uri \"%.*s?%.*s\"", STR(r->uri), STR(r->args));
  if (!ctx->before_body_sent) {
    ctx->before_body_sent = true;
    if (send_lines(r, conf->before_body) != kOk) return kError;
  }
  if (conf->after_body.empty()) {
    ctx->skip_filter = true;
    return next_body(r, in);
  }
  bool last = unmark_end(in);
  int rc = next_body(r, in);
  if (rc == kError || rc > kOk || !last) return rc;
  if (send_lines(r, conf->after_body) != kOk) return kError;
  ctx->skip_filter = true;
  return send_end(r);
}

}  // namespace

void register_filters() { http::filters().add(http::Slot::kEcho, header_filter, body_filter); }

}  // namespace moonphase::engine::echo
