// proxy_pass: where a request goes, and what is written there.
#include "engine/modules/proxy.h"

#include <algorithm>
#include <charconv>

#include "base/clock.h"
#include "engine/lifecycle.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/upstream/cache.h"
#include "engine/variables/variables.h"
#include "http/body.h"
#include "http/uri.h"

namespace moonphase::engine {

using proxy::Ctx;
using proxy::ctx_of;

namespace {

const ProxyConf* conf_of(const LocConf& conf) {
  return static_cast<const ProxyConf*>(conf.module[kModProxy].get());
}

// --- the target of a proxy_pass with variables ---

bool evaluate_target(Request* r, Upstream& u, Ctx& ctx) {
  Str url = eval(r, ctx.conf->url);
  if (take_schema(u, &url, "http://", "https://", &ctx))
    return parse_target(r, u, url, u.ssl ? 443 : 80, &ctx);
  MOONPHASE_LOG(r, kLogErr, 0, "invalid URL prefix in \"%.*s\"", STR(url));
  return false;
}

// --- the request ---

// The URI as the server gets it.
Str make_uri(Request* r, const Ctx& ctx) {
  Str given = ctx.uri;
  if (ctx.conf->dynamic && !given.empty()) return given;
  if (given.empty() && r->valid_unparsed_uri) return r->unparsed_uri;
  size_t cut =
      r->valid_location && !given.empty() ? std::min(ctx.conf->location.size(), r->uri.size()) : 0;
  Str rest = r->uri.substr(cut);
  if (r->quoted_uri || r->internal) rest = http::escape(*r->pool, rest, http::Escape::kUri);
  if (!r->valid_location) given = {};
  return r->args.empty() ? r->pool->join({given, rest})
                         : r->pool->join({given, rest, "?", r->args});
}

class Writer {
 public:
  explicit Writer(Request* r) : r_(r) {}
  void add(Str s) {
    if (static_cast<size_t>(end_ - at_) < s.size()) grow(s.size());
    at_ = put_bytes(at_, s);
  }
  void line(Str name, Str value) {
    add(name);
    add(": ");
    add(value);
    add("\r\n");
  }
  Str text() const { return {start_, static_cast<size_t>(at_ - start_)}; }

 private:
  void grow(size_t more) {
    size_t used = static_cast<size_t>(at_ - start_);
    size_t size = std::max<size_t>(1024, (used + more) * 2);
    char* fresh = r_->pool->bytes(size);
    at_ = put_bytes(fresh, text());
    start_ = fresh;
    end_ = fresh + size;
  }
  Request* r_;
  char *start_ = nullptr, *at_ = nullptr, *end_ = nullptr;
};

Str number(Request* r, int64_t n) {
  char* p = r->pool->bytes(24);
  return {p, static_cast<size_t>(std::to_chars(p, p + 24, n).ptr - p)};
}

// A piece of a streamed body as a chunk: what stands before it, and behind it.
Buf* frame_chunk(Upstream& u, Buf* b, bool behind) {
  Request* r = u.r;
  Str text;
  char* p = r->pool->bytes(32);
  if (!behind) {
    if (b->size() == 0) return nullptr;
    char* end = std::to_chars(p, p + 16, static_cast<uint64_t>(b->size()), 16).ptr;
    end = put_bytes(end, "\r\n");
    text = {p, static_cast<size_t>(end - p)};
  } else {
    char* end = put_bytes(p, b->size() ? "\r\n" : "");
    if (b->last_buf) end = put_bytes(end, "0\r\n\r\n");
    text = {p, static_cast<size_t>(end - p)};
    if (text.empty()) return nullptr;
  }
  return buf_of(*r->pool, text);
}

// What is kept is the whole answer, whatever this client has of it.
bool is_condition(Str lower) {
  for (const Str name : {"if-modified-since", "if-unmodified-since", "if-none-match", "if-match",
                         "range", "if-range"})
    if (lower == name) return true;
  return false;
}

// Is the answer that is there still good? (proxy_cache_revalidate)
void add_conditions(Writer& w, const Upstream& u, const ProxyConf& conf) {
  const UpstreamCache* c = u.cache;
  if (!c || !c->conf->revalidate || c->status != UpstreamCache::kExpired) return;
  const auto add = [&](const char* lower, Str name, Str value) {
    if (!value.empty() && !conf.replaced.has(lower)) w.line(name, value);
  };
  char date[64];
  if (c->last_modified != -1)
    add("if-modified-since", "If-Modified-Since", {date, format_http_date(date, c->last_modified)});
  add("if-none-match", "If-None-Match", c->etag);
}

int create_request(Upstream& u) {
  Request* r = u.r;
  auto* ctx = static_cast<Ctx*>(u.data);
  const ProxyConf& conf = *ctx->conf;
  Str method = !u.method.empty() ? u.method
               : conf.has_method ? eval(r, conf.method)
                                 : r->method_name;
  ctx->head = same_text(method, "HEAD");

  u.uri = make_uri(r, *ctx);
  if (u.uri.empty()) {
    MOONPHASE_LOG(r, kLogErr, 0, "zero length URI to proxy");
    return kError;
  }
  Str body;
  if (conf.has_body) {
    body = eval(r, conf.body);
    ctx->body_length = static_cast<int64_t>(body.size());
  } else if (r->headers_in.chunked && r->reading_body) {
    ctx->body_length = -1;
    ctx->chunked_body = true;
  } else {
    ctx->body_length = r->headers_in.content_length_n;
  }

  Writer w(r);
  w.add(method);
  w.add(" ");
  w.add(u.uri);
  w.add(conf.http11 ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n");
  if (!conf.sets_host) w.line("Host", ctx->host_header);
  bool sets_length = false;
  for (const PassHeader& h : conf.set_headers) {
    if (same_text(h.name, "Content-Length")) sets_length = true;
    Str value = eval(r, h.value);
    if (!value.empty()) w.line(h.name, value);
  }
  if (!sets_length && ctx->body_length >= 0) w.line("Content-Length", number(r, ctx->body_length));
  if (ctx->chunked_body && conf.http11) w.line("Transfer-Encoding", "chunked");
  if (u.cacheable) add_conditions(w, u, conf);
  if (conf.pass_headers_in) {
    for (const Header& h : r->headers_in.list)
      if (h.hash && !conf.replaced.has(h.lower) && !(u.cacheable && is_condition(h.lower)))
        w.line(h.name, h.value);
  }
  w.add("\r\n");
  w.add(body);
  MOONPHASE_LOG(r, kLogDebug, 0, "http proxy header:\n\"%.*s\"", STR(w.text()));

  u.request = make_chain(*r->pool, buf_of(*r->pool, w.text()));
  if (r->request_body_no_buffering) {
    if (ctx->chunked_body) u.frame_body = frame_chunk;
  } else if (!conf.has_body && conf.pass_body && r->body) {
    // The same body may be sent several times: the buffers keep their place.
    u.request->next = r->body->bufs;
  }
  return kOk;
}

int proxy_handler(Request* r) {
  const ProxyConf* conf = conf_of(*loc(r));
  auto* ctx = r->pool->make<Ctx>();
  ctx->conf = conf;
  Upstream* u = Upstream::create(r, &conf->upstream, &proxy::kProtocol, ctx);
  r->ctx[kModProxy] = ctx;
  if (conf->dynamic) {
    if (!evaluate_target(r, *u, *ctx)) return 500;
  } else {
    ctx->schema = u->schema = conf->schema;
    u->ssl = conf->ssl;
    u->host = conf->host;
    ctx->uri = conf->uri;
    ctx->port = conf->port_text;
    ctx->host_header = conf->unix_socket ? Str("localhost")
                       : conf->no_port || conf->port == (conf->ssl ? 443 : 80)
                           ? Str(conf->host)
                           : r->pool->join({conf->host, ":", conf->port_text});
    u->group = conf->group;
  }
  if (conf->upstream.cache && !conf->upstream.cache->has_key) {
    u->cache_host = r->pool->join({ctx->schema, ctx->host_header});
    u->cache_uri = make_uri(r, *ctx);
  }
  if (!conf->upstream.request_buffering && !conf->has_body && conf->pass_body &&
      (!r->headers_in.chunked || conf->http11))
    r->request_body_no_buffering = true;
  return Upstream::run(r);
}

// --- variables ---

int host_variable(Request* r, VarValue* v, Str, uintptr_t) {
  const Ctx* ctx = ctx_of(r);
  if (!ctx) return not_found(v);
  found(v, ctx->host_header);
  v->no_cacheable = true;
  return kOk;
}
int port_variable(Request* r, VarValue* v, Str, uintptr_t) {
  const Ctx* ctx = ctx_of(r);
  if (!ctx) return not_found(v);
  found(v, ctx->port);
  v->no_cacheable = true;
  return kOk;
}
int length_variable(Request* r, VarValue* v, Str, uintptr_t) {
  const Ctx* ctx = ctx_of(r);
  return ctx && ctx->body_length >= 0 ? found_number(r, v, ctx->body_length) : not_found(v);
}
int chunked_variable(Request* r, VarValue* v, Str, uintptr_t) {
  const Ctx* ctx = ctx_of(r);
  return ctx && ctx->chunked_body ? found(v, "chunked") : not_found(v);
}

const VariableDef kRows[] = {
    {"proxy_host", host_variable, nullptr, 0, kVarNoCacheable},
    {"proxy_port", port_variable, nullptr, 0, kVarNoCacheable},
    {"proxy_internal_body_length", length_variable, nullptr, 0, kVarNoCacheable},
    {"proxy_internal_chunked", chunked_variable, nullptr, 0, kVarNoCacheable},
    {nullptr, nullptr, nullptr, 0, 0},
};

}  // namespace

const UpstreamProtocol proxy::kProtocol = {create_request,
                                           proxy::restart,
                                           proxy::process_header,
                                           proxy::begin_body,
                                           proxy::body,
                                           proxy::rewrite_location,
                                           [](Upstream& u, Header* h) {
                                             if (ctx_of(u.r)->conf->rewrites_cookies())
                                               proxy::rewrite_cookie(u, h);
                                           }};

bool seal_proxy(Plan& plan, std::string* error) {
  static constexpr const char* kReplaced[] = {
      "host",       "connection", "content-length", "transfer-encoding", "te",
      "keep-alive", "expect",     "upgrade",        "proxy-connection",  nullptr};
  for (const auto& conf : plan.confs) {
    auto* proxy = static_cast<ProxyConf*>(conf->module[kModProxy].get());
    if (!proxy) continue;
    if (proxy->replaced.empty()) proxy->upstream.hidden.add("x-pad");
    if (!seal_pass(plan, *proxy, {"proxy", kReplaced}, conf->where, error)) return false;
  }
  return true;
}

void register_proxy() {
  register_upstream();
  register_upstream_cache();
  add_variables(kRows);
  set_content_handler(ContentKind::kProxy, proxy_handler);
}

}  // namespace moonphase::engine
