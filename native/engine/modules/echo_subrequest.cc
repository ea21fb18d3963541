// echo_location, echo_subrequest and their _async forms; echo_exec.
#include <cstdio>

#include "engine/lifecycle.h"
#include "engine/modules/echo_ctx.h"
#include "engine/path.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "http/body.h"
#include "http/headers_in.h"
#include "http/uri.h"

namespace moonphase::engine::echo {

namespace {

// A subrequest that waits wakes its parent's commands.
int post_subrequest(Request* sr, void* data, int rc) {
  auto* ctx = static_cast<Ctx*>(data);
  if (ctx->post_subrequest_run) return rc;
  ctx->post_subrequest_run = true;
  Request* parent = sr->parent;
  Ctx* waiting = ctx_of(parent);
  if (!waiting) return kError;
  waiting->waiting = false;
  waiting->done = true;
  parent->write_event_handler = resume;
  // Not finished yet, since its own subrequests still have output: nobody else would post the
  // parent.
  if (sr != sr->conn->active && sr->postponed) post_request(parent);
  return rc;
}

struct Target {
  Str uri, args;
  bool has_args = false;  // given apart from the URI
};

// Splits the arguments off the URI, unless there are others. False: a URI that must not be used.
bool split_target(Request* r, const char* command, Target* target) {
  Str args;
  unsigned flags = 0;
  Str given = target->uri;
  if (http::parse_unsafe_uri(r, &target->uri, &args, &flags) != kOk) {
    MOONPHASE_LOG(r, kLogDebug, 0, "%s sees unsafe uri: \"%.*s\"", command, STR(given));
    return false;
  }
  if (!target->has_args) target->args = args;
  return true;
}

int start(Request* r, const Target& target, bool wait, Request** psr) {
  Ctx* sub = nullptr;
  http::PostSubrequest* ps = nullptr;
  if (wait) {
    sub = make_ctx(r);
    ps = r->pool->make<http::PostSubrequest>(post_subrequest, sub);
  }
  if (engine::subrequest(r, target.uri, target.args, psr, ps, 0) != kOk) return kError;
  Request* sr = *psr;
  if (sub) {
    sub->r = sr;
    sr->ctx[kModEcho] = sub;
  }
  // Variables are its own.
  sr->variables = r->pool->array<http::VarValue>(plan(r).variables.size());
  return kOk;
}

struct MethodName {
  Str name;
  uint32_t bit;
};
constexpr MethodName kMethods[] = {
    {"GET", http::kGet},         {"PUT", http::kPut},           {"POST", http::kPost},
    {"HEAD", http::kHead},       {"COPY", http::kCopy},         {"MOVE", http::kMove},
    {"LOCK", http::kLock},       {"MKCOL", http::kMkcol},       {"TRACE", http::kTrace},
    {"PATCH", http::kPatch},     {"DELETE", http::kDelete},     {"UNLOCK", http::kUnlock},
    {"OPTIONS", http::kOptions}, {"PROPFIND", http::kPropfind}, {"PROPPATCH", http::kProppatch},
};

uint32_t method_bit(Str name) {
  for (const MethodName& m : kMethods)
    if (m.name == name) return m.bit;
  return http::kUnknownMethod;
}

// The options of echo_subrequest.
struct Options {
  Str query, body, file;
  bool has_query = false;
};

bool read_options(Request* r, const Args& args, Options* o) {
  for (size_t i = 2; i < args.count; i += 2) {
    Str name = args[i], value = args[i + 1];
    bool there = i + 1 < args.count;
    if (name == "-q") {
      o->query = value;
      o->has_query = there;
    } else if (name == "-b") {
      o->body = value;
    } else if (name == "-f") {
      o->file = value;
    } else {
      MOONPHASE_LOG(r, kLogErr, 0, "unknown option for echo_subrequest*: %.*s", STR(name));
      return false;
    }
  }
  return true;
}

http::Body* make_body(Request* r, Buf* b) {
  auto* body = r->pool->make<http::Body>();
  body->rest = 0;
  body->bufs = make_chain(*r->pool, b);
  body->buf = b;
  return body;
}

// kOk with the file as a body; kError (logged).
int body_of_file(Request* r, Str file, http::Body** body) {
  Str name = file.starts_with('/') ? file : r->pool->join({plan(r).prefix, file});
  name = {r->pool->c_str(name), name.size()};
  FileInfo info;
  if (!open_file(r, name, &info)) {
    MOONPHASE_LOG(r, kLogErr, info.err, "%s \"%.*s\" failed", info.failed, STR(name));
    return kError;
  }
  Buf* b = make_buf(*r->pool);
  b->file = r->pool->make<File>(info.fd, name);
  b->file_last = info.is_file ? info.size : 0;
  b->in_file = b->file_last > 0;
  *body = make_body(r, b);
  return kOk;
}

int read_body(Request* r, const Options& o, http::Body** body) {
  if (!o.body.empty()) {
    Buf* b = buf_of(*r->pool, o.body);
    b->memory = false;
    b->temporary = true;
    *body = make_body(r, b);
    return kOk;
  }
  return o.file.empty() ? int{kOk} : body_of_file(r, o.file, body);
}

// The parent's headers, but with the length of a body of its own.
void own_headers(Request* sr, int64_t length) {
  http::HeadersIn& in = sr->headers_in;
  http::HeaderList outer = in.list;
  Str server = in.server;
  in.list.clear();
  char text[24];
  int n = std::snprintf(text, sizeof text, "%lld", static_cast<long long>(length));
  in.list.add(*sr->pool, "Content-Length", {text, static_cast<size_t>(n)});
  for (const http::Header& h : outer) {
    if (!h.hash || h.lower == "content-length") continue;
    http::Header* copy = in.list.push(*sr->pool);
    *copy = h;
    copy->same = nullptr;
  }
  for (const http::Header& h : in.list) http::headers_in_relink(sr, h.lower);
  in.server = server;
  in.chunked = false;
}

}  // namespace

int location(Request* r, Ctx* ctx, const Args& args, bool wait) {
  if (args[0].empty()) return kError;
  Target target{args[0], args[1], args.count > 1};
  if (!split_target(r, wait ? "echo_location" : "echo_location_async", &target)) return kError;
  int rc = send_header(r, ctx);
  if (rc == kError || rc > kOk || r->header_only) return rc;
  Request* sr = nullptr;
  if (start(r, target, wait, &sr) != kOk) return kError;
  return wait ? kAgain : kOk;
}

int subrequest(Request* r, Ctx* ctx, const Args& args, bool wait) {
  if (args[1].empty()) return kError;
  Options options;
  http::Body* body = nullptr;
  if (!read_options(r, args, &options) || read_body(r, options, &body) != kOk) return kError;
  Target target{args[1], options.query, options.has_query};
  if (!split_target(r, wait ? "echo_subrequest" : "echo_subrequest_async", &target)) return kError;
  int rc = send_header(r, ctx);
  if (rc == kError || rc > kOk || r->header_only) return rc;

  Request* sr = nullptr;
  if (start(r, target, wait, &sr) != kOk) return kError;
  sr->method_name = args[0];
  sr->method = method_bit(args[0]);
  if (sr->method == http::kHead) sr->header_only = true;
  if (body) {
    sr->body = body;
    int64_t length = body->buf->size();
    own_headers(sr, length);
    sr->headers_in.content_length_n = length;
  }
  return wait ? kAgain : kOk;
}

int exec(Request* r, const Args& args) {
  if (args[0].empty()) return 400;
  Target target{args[0], args[1], args.count > 1};
  if (!split_target(r, "echo_exec", &target)) return kError;
  r->write_event_handler = empty_handler;
  if (!target.uri.starts_with('@')) return internal_redirect(r, target.uri, target.args);
  if (!target.args.empty())
    MOONPHASE_LOG(r, kLogWarn, 0, "querystring %.*s ignored when exec'ing named location %.*s",
                  STR(target.args), STR(target.uri));
  return named_location(r, target.uri);
}

}  // namespace moonphase::engine::echo
