#include "engine/modules/grpc.h"

#include <strings.h>

#include <charconv>

#include "engine/lifecycle.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"
#include "http/body.h"
#include "http/uri.h"

namespace moonphase::engine {

using grpc::Ctx;
using http::H2Client;

namespace {

// --- the request ---

Str make_path(Request* r) {
  if (r->valid_unparsed_uri) return r->unparsed_uri;
  const Str path = http::escape(*r->pool, r->uri, http::Escape::kUri);
  return r->args.empty() ? path : r->pool->join({path, "?", r->args});
}

// $content_length: as it came, or what has been read.
Str content_length(Request* r) {
  if (const Header* h = r->headers_in.content_length) return h->value;
  if (r->reading_body || r->headers_in.content_length_n < 0) return {};
  char* p = r->pool->bytes(24);
  return {p, static_cast<size_t>(std::to_chars(p, p + 24, r->headers_in.content_length_n).ptr - p)};
}

bool takes_trailers(const Request* r) {
  const Header* te = r->headers_in.te;
  if (!te) return false;
  for (size_t i = 0; i + 8 <= te->value.size(); ++i)
    if (strncasecmp(te->value.data() + i, "trailers", 8) == 0) return true;
  return false;
}

int create_request(Upstream& u) {
  Request* r = u.r;
  auto* ctx = static_cast<Ctx*>(u.data);
  const GrpcConf& conf = *ctx->conf;
  u.uri = make_path(r);
  const size_t most = 6 + conf.set_headers.size() + r->headers_in.list.count();
  ctx->fields = static_cast<http::HeadField*>(r->pool->alloc(most * sizeof(http::HeadField)));
  ctx->count = 0;
  const auto add = [ctx](Str name, Str value) { ctx->fields[ctx->count++] = {name, value}; };
  const auto replaced_by_conf = [&conf](Str name) {
    for (const PassHeader& h : conf.set_headers)
      if (Str(h.name) == name) return true;
    return false;
  };
  add(":method", r->method_name);
  add(":scheme", u.ssl ? "https" : "http");
  add(":path", u.uri);
  if (!conf.sets_host) add(":authority", ctx->host_header);
  for (const PassHeader& h : conf.set_headers)
    if (Str value = eval(r, h.value); !value.empty()) add(h.name, value);
  if (Str length = content_length(r); !length.empty() && !replaced_by_conf("content-length"))
    add("content-length", length);
  if (takes_trailers(r) && !replaced_by_conf("te")) add("te", "trailers");
  for (const Header& h : r->headers_in.list)
    if (h.hash && !conf.replaced.has(h.lower)) add(h.lower, h.value);
  for (size_t i = 0; i < ctx->count; ++i)
    MOONPHASE_LOG(r, kLogDebug, 0, "grpc header: \"%.*s: %.*s\"", STR(ctx->fields[i].name),
                  STR(ctx->fields[i].value));
  u.request = !r->request_body_no_buffering && r->body ? r->body->bufs : nullptr;
  return kOk;
}

// The connection is there, or it will be: the answer begins.
void restart(Upstream& u) {
  auto* ctx = static_cast<Ctx*>(u.data);
  ctx->client = nullptr;
  ctx->status_seen = ctx->head_over = false;
  ctx->length = -1;
}

// Has the connection a request from us? The first bytes of a new connection are ours, too.
bool begin(Upstream& u, Ctx* ctx) {
  Request* r = u.r;
  auto& attached = u.stream()->attached;
  if (!attached) attached = std::make_unique<H2Client>();
  ctx->client = static_cast<H2Client*>(attached.get());
  H2Client::Sink sink = grpc::kSink;
  sink.p = ctx;
  const bool body = r->request_body_no_buffering || u.request;
  if (!ctx->client->begin(r, sink, ctx->fields, ctx->count, body)) return false;
  // Another try sends the same body: what is used up are copies.
  Chain* own = nullptr;
  Chain** end = &own;
  for (const Chain* c = u.request; c; c = c->next) {
    Buf* b = make_buf(*r->pool);
    *b = *c->buf;
    if (!c->next) b->last_buf = true;
    *end = make_chain(*r->pool, b);
    end = &(*end)->next;
  }
  ctx->client->add_body(own);
  return true;
}

int output(Upstream& u, Chain* in, Chain** out) {
  auto* ctx = static_cast<Ctx*>(u.data);
  if (!ctx->client && !begin(u, ctx)) return kError;
  ctx->client->add_body(in);
  return ctx->client->fill(out);
}

constexpr UpstreamProtocol kProtocol = {create_request,   restart,    grpc::process_header,
                                        grpc::begin_body, grpc::body, nullptr,
                                        nullptr,          output};

// --- where to ---

bool evaluate_target(Request* r, Upstream& u, Ctx* ctx) {
  Str url = eval(r, ctx->conf->url);
  if (!take_schema(u, &url, "grpc://", "grpcs://", ctx)) u.schema = "grpc://";
  if (!parse_target(r, u, url, 0, ctx)) return false;
  if (ctx->uri.empty()) return true;
  MOONPHASE_LOG(r, kLogErr, 0, "invalid host in upstream \"%.*s\"", STR(url));
  return false;
}

int grpc_handler(Request* r) {
  const auto* conf = static_cast<const GrpcConf*>(loc(r)->module[kModGrpc].get());
  auto* ctx = r->pool->make<Ctx>();
  Upstream* u = ctx->u = Upstream::create(r, &conf->upstream, &kProtocol, ctx);
  ctx->conf = conf;
  if (conf->dynamic) {
    if (!evaluate_target(r, *u, ctx)) return 500;
  } else {
    u->schema = conf->schema;
    u->ssl = conf->ssl;
    u->host = conf->host;
    u->group = conf->group;
    ctx->host_header = conf->unix_socket ? Str("localhost")
                       : conf->no_port   ? Str(conf->host)
                                         : r->pool->join({conf->host, ":", conf->port_text});
  }
  r->request_body_no_buffering = true;
  return Upstream::run(r);
}

}  // namespace

bool seal_grpc(Plan& plan, std::string* error) {
  static constexpr const char* kReplaced[] = {
      "content-length",    "te",         "host",   "connection", "proxy-connection",
      "transfer-encoding", "keep-alive", "expect", "upgrade",    nullptr};
  for (const auto& conf : plan.confs) {
    auto* grpc = static_cast<GrpcConf*>(conf->module[kModGrpc].get());
    if (!grpc) continue;
    // HTTP/2 has names in lower case.
    for (PassHeader& h : grpc->set_headers) h.name = lower_case(h.name);
    if (!seal_pass(plan, *grpc, {"grpc", kReplaced}, conf->where, error)) return false;
  }
  return true;
}

void register_grpc() { set_content_handler(ContentKind::kGrpc, grpc_handler); }

}  // namespace moonphase::engine
