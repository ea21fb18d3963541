// A server of base, net and http alone, with the least that can stand for an engine above them.
//   /            hello                      /slow      hello after 50 ms
//   /echo        the request's body         /chunks    ten pieces without a length
//   /big         1 MB                       /discard   hello, the body thrown away
//   /raw         the header bytes           /headers   name: value of each request header
// Usage: http_echo_server PORT|unix:PATH [log level]
#include <arpa/inet.h>
#include <signal.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "http/body.h"
#include "http/connection.h"
#include "http/output.h"

using namespace moonphase;
using namespace moonphase::http;

namespace {

void finalize(Request* r, int rc);

void writer(Request* r) {
  Connection* c = r->conn;
  if (c->write_timedout) {
    c->timedout = true;
    finalize(r, 408);
    return;
  }
  int rc = output(r, nullptr);
  if (rc == kError) return finalize(r, rc);
  if (c->buffered_bits) {
    c->set_write_timeout(r->loc->send_timeout);
    c->want_write(true);
    return;
  }
  finalize(r, kOk);
}

int send_page(Request* r, int status) {
  r->headers_out.status = status == 494 ? 400 : status;
  Str page = special_page(status), tail = special_tail(r);
  r->headers_out.content_type = "text/html";
  r->headers_out.content_type_len = 9;
  r->headers_out.content_length_n = static_cast<int64_t>(page.size() + tail.size());
  if (status == 400 || status == 413 || status == 414 || status == 494 || status >= 500)
    r->keepalive = false;
  if (status == 400 || status == 413 || status == 414 || status == 494) r->lingering_close = true;
  int rc = send_header(r);
  if (rc == kError || rc > kOk || r->header_only) return rc;
  Buf* a = buf_of(*r->pool, page);
  Buf* b = buf_of(*r->pool, tail);
  b->last_buf = true;
  Chain second{b, nullptr}, first{a, &second};
  return output(r, &first);
}

void finalize(Request* r, int rc) {
  Connection* c = r->conn;
  if (rc == kDone) {
    if (r->count != 1) {
      linger_discard(r);
      --r->count;
      return;
    }
    return finish_request(r);
  }
  if (rc == kError || rc == 408 || rc == 499 || c->error)
    return close_connection_with_request(r, rc);
  if (rc >= 300) {
    if (r->header_sent) return close_connection_with_request(r, rc);
    if (discard_body(r) != kOk) r->keepalive = false;
    return finalize(r, send_page(r, rc));
  }
  if (c->buffered_bits) {
    r->read_event_handler = r->discard_body ? discarded_body_handler : test_reading;
    r->write_event_handler = writer;
    c->set_write_timeout(r->loc->send_timeout);
    c->want_write(true);
    return;
  }
  c->set_read_timeout(0);
  c->set_write_timeout(0);
  r->read_event_handler = block_reading;
  if (r->count != 1) {
    linger_discard(r);
    --r->count;
    return;
  }
  finish_request(r);
}

int answer(Request* r, Str body) {
  r->headers_out.status = 200;
  r->headers_out.content_type = "text/plain";
  r->headers_out.content_type_len = 10;
  r->headers_out.content_length_n = static_cast<int64_t>(body.size());
  r->allow_ranges = r->uri != "/";
  int rc = send_header(r);
  if (rc == kError || rc > kOk || r->header_only) return rc;
  Buf* b = buf_of(*r->pool, body);
  if (body.empty()) b->memory = false;
  b->last_buf = true;
  Chain out{b, nullptr};
  return output(r, &out);
}

void echo(Request* r) {
  Str all;
  for (Chain* c = r->body ? r->body->bufs : nullptr; c; c = c->next) {
    Buf* b = c->buf;
    if (b->in_file) {
      char* p = r->pool->bytes(static_cast<size_t>(b->file_last));
      ssize_t n = pread(b->file->fd, p, static_cast<size_t>(b->file_last), 0);
      all = {p, static_cast<size_t>(n)};
    } else {
      all = r->pool->join({all, b->bytes()});
    }
  }
  int rc = answer(r, all);
  --r->count;
  finalize(r, rc);
}

int chunks(Request* r) {
  r->headers_out.status = 200;
  int rc = send_header(r);
  if (rc == kError || r->header_only) return rc;
  for (int i = 0; i < 10; ++i) {
    char text[32];
    int n = std::snprintf(text, sizeof text, "piece %d\n", i);
    Buf* b = buf_of(*r->pool, r->pool->copy({text, static_cast<size_t>(n)}));
    b->flush = i % 3 == 0;
    Chain out{b, nullptr};
    rc = output(r, &out);
    if (rc == kError) return rc;
  }
  return send_last(r);
}

char* s_big;

void process(Request* r) {
  if (int64_t most = r->loc->client_max_body_size; most && r->headers_in.content_length_n > most) {
    r->expect_tested = true;
    return finalize(r, 413);
  }
  if (r->uri == "/echo") {
    int rc = read_body(r, echo);
    if (rc >= 300) finalize(r, rc);
    return;
  }
  if (r->uri == "/slow") {
    ++r->count;
    r->read_event_handler = test_reading;
    r->conn->want_read(true);
    r->timer.data = r;
    r->timer.fn = [](void* p) {
      auto* q = static_cast<Request*>(p);
      --q->count;
      int rc = discard_body(q);
      finalize(q, rc ? rc : answer(q, "hello\n"));
    };
    r->conn->server->loop->set_timer(&r->timer, 50);
    return;
  }
  int rc = discard_body(r);
  if (rc != kOk) return finalize(r, rc);
  if (r->uri == "/chunks") return finalize(r, chunks(r));
  if (r->uri == "/big") return finalize(r, answer(r, {s_big, 1 << 20}));
  if (r->uri == "/raw") return finalize(r, answer(r, r->header_bytes));
  if (r->uri == "/headers") {
    Str all;
    for (Header& h : r->headers_in.list) all = r->pool->join({all, h.name, ": ", h.value, "\n"});
    return finalize(r, answer(r, all));
  }
  if (r->uri == "/missing") return finalize(r, 404);
  finalize(r, answer(r, "hello\n"));
}

struct Stderr final : LogSink {
  void write(int, Str line) override { (void)!::write(2, line.data(), line.size()); }
};

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  Str where = argc > 1 ? argv[1] : "8089";
  static Stderr sink;
  Log::Target target{&sink, argc > 2 ? std::atoi(argv[2]) : static_cast<int>(kLogErr)};
  register_http_filters();
  s_big = static_cast<char*>(std::malloc(1 << 20));
  std::memset(s_big, 'x', 1 << 20);

  uv_loop_t* uv = uv_default_loop();
  net::Loop* loop = new net::Loop(uv);
  net::set_current_loop(loop);
  CoreConf conf;
  conf.error_log = {&target, 1, target.level};
  conf.client_body_temp_path = "/tmp/moonphase_body_temp";
  conf.server_tokens = CoreConf::kTokensOn;
  ServerCore server;
  server.conf = &conf;
  server.names.push_back({"localhost", ServerName::kExact, "", false});
  if (getenv("HEADER_TIMEOUT")) server.client_header_timeout = std::atoi(getenv("HEADER_TIMEOUT"));
  if (getenv("BODY_TIMEOUT")) conf.client_body_timeout = std::atoi(getenv("BODY_TIMEOUT"));
  if (getenv("SEND_TIMEOUT")) conf.send_timeout = std::atoi(getenv("SEND_TIMEOUT"));
  if (getenv("KEEPALIVE_REQUESTS"))
    conf.keepalive_requests = std::atoll(getenv("KEEPALIVE_REQUESTS"));
  else
    conf.keepalive_requests = 1000000000;
  ListenConf listen;
  listen.name = "0.0.0.0:8089";
  listen.servers.push_back(&server);
  listen.default_server = &server;
  Stats counted;
  HttpServer http{counted};
  http.loop = loop;
  http.max_connections = 10000;
  http.hooks.process = process;
  http.hooks.reject = finalize;
  http.hooks.finalize = finalize;
  http.hooks.destroy = [](Request*) {};
  http.hooks.filter_finalize = [](Request* r, int status) {
    r->headers_out = HeadersOut();
    return send_page(r, status);
  };
  struct Ctx {
    HttpServer* http;
    ListenConf* listen;
  } ctx{&http, &listen};

  sockaddr_storage addr{};
  socklen_t len;
  if (where.substr(0, 5) == "unix:") {
    auto* un = reinterpret_cast<sockaddr_un*>(&addr);
    un->sun_family = AF_UNIX;
    std::memcpy(un->sun_path, where.data() + 5, where.size() - 5);
    len = sizeof *un;
    listen.family = ListenConf::kUnix;
  } else {
    auto* in = reinterpret_cast<sockaddr_in*>(&addr);
    in->sin_family = AF_INET;
    in->sin_port = htons(static_cast<uint16_t>(std::atoi(where.data())));
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    len = sizeof *in;
  }
  int err = 0;
  net::Listener* l = net::Listener::open(
      loop, reinterpret_cast<sockaddr*>(&addr), len, {}, -1,
      [](void* p, int fd, const sockaddr* peer, socklen_t n) {
        auto* c = static_cast<Ctx*>(p);
        accept_connection(c->http, c->listen, fd, peer, n);
      },
      &ctx, &err);
  if (!l) {
    std::fprintf(stderr, "listen: %d\n", err);
    return 1;
  }
  static net::Listener* listener = l;
  static HttpServer* running = &http;
  uv_signal_t term;
  uv_signal_init(uv, &term);
  uv_signal_start(
      &term,
      [](uv_signal_t* h, int) {
        uv_signal_stop(h);
        listener->close();
        drain_connections(running);
      },
      SIGTERM);
  uv_unref(reinterpret_cast<uv_handle_t*>(&term));
  uv_run(uv, UV_RUN_DEFAULT);
  delete loop;
  uv_run(uv, UV_RUN_DEFAULT);
  std::free(s_big);
  return 0;
}
