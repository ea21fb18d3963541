#include "bind/door.h"

#include <unistd.h>

#include "bind/gateway.h"
#include "bind/js_call.h"
#include "bind/js_error.h"
#include "bind/napi_util.h"
#include "http/body.h"
#include "http/uri.h"

namespace moonphase::bind {

namespace {

// How a request is passed on: bits that lib/gateway/door.ts knows.
enum Passed : uint32_t {
  kPassed = 1,
  kUrl = 2,
  kHeaders = 4,
  kBodyTaken = 8,
  kFilters = 16,
  kLogs = 32,
};
// What is said of a request that begins.
enum Begin : uint32_t { kSsl = 1, kHasBody = 2, kStream = 4, kPassesOn = 8, kBodyByHead = 16 };

constexpr size_t kShort = 16384;  // bodies up to here are strings: Node writes them with the head

}  // namespace

void Door::set_callback(napi_value fn) {
  if (callback_) napi_delete_reference(env_->napi(), callback_);
  napi_create_reference(env_->napi(), fn, 1, &callback_);
}

void Door::close() {
  if (callback_ && !env_->closing()) napi_delete_reference(env_->napi(), callback_);
  callback_ = nullptr;
  runtime_ = nullptr;
  open_.clear();
}

uint32_t Door::begin(uint32_t id, const http::HostedRequest& from) {
  if (id >= open_.size()) open_.resize(id + 1);
  auto* c =
      http::HostedConnection::open(&runtime_->http, &runtime_->current->plan->hosted, this, id);
  open_[id] = c;
  http::HostedConnection* outer = beginning_;
  beginning_ = c;
  passed_ = 0;
  c->begin(from);
  beginning_ = outer;
  return std::exchange(passed_, 0);
}

bool Door::call(uint32_t id, Event event, std::initializer_list<napi_value> values) {
  napi_env env = env_->napi();
  napi_value fn = nullptr, result = nullptr, argv[6];
  if (!callback_ || napi_get_reference_value(env, callback_, &fn) != napi_ok) return true;
  napi_create_uint32(env, id, &argv[0]);
  napi_create_uint32(env, event, &argv[1]);
  size_t n = 2;
  for (napi_value v : values) argv[n++] = v;
  if (!call_js(env_, nullptr, nullptr, fn, n, argv, &result)) return true;
  bool answer = true;
  if (napi_get_value_bool(env, result, &answer) != napi_ok) return true;
  return answer;
}

bool Door::output(http::HostedConnection* c, Str head, Str body, bool last, Str trailers) {
  IntoJs js(env_);
  if (!js.ok()) return true;
  napi_env env = env_->napi();
  napi_value none = js_undefined(env);
  napi_value bytes = none;
  if (!body.empty()) {
    if (body.size() <= kShort)
      bytes = js_latin1(env, body);
    else
      napi_create_buffer_copy(env, body.size(), body.data(), nullptr, &bytes);
  }
  const uint32_t id = c->id();
  // JavaScript may give the number to the next request.
  if (last) forget(id);
  return call(id, kOutput,
              {head.empty() ? none : js_latin1(env, head), bytes, js_boolean(env, last),
               trailers.empty() ? none : js_latin1(env, trailers)});
}

void Door::want_body(http::HostedConnection* c) {
  if (find(c->id()) != c) return;
  IntoJs js(env_);
  if (js.ok()) call(c->id(), kBody, {});
}

void Door::pass_on(http::HostedConnection* c) {
  uint32_t how = kPassed;
  if (c->url_changed()) how |= kUrl;
  if (c->headers_changed()) how |= kHeaders;
  if (c->body_taken()) how |= kBodyTaken;
  if (c->filters_answer()) how |= kFilters;
  if (c->logs_answer()) how |= kLogs;
  if (beginning_ == c) {
    passed_ = how;
    return;
  }
  IntoJs js(env_);
  if (!js.ok()) return;
  call(c->id(), kPass, {js_number(env_->napi(), how)});
}

void Door::answered(http::HostedConnection* c, int status, napi_value head, int64_t bytes,
                    bool broken) {
  size_t size = 0;
  napi_get_value_string_latin1(env_->napi(), head, nullptr, 0, &size);
  forget(c->id());
  Told told{c, head, told_};
  told_ = &told;
  c->take_end(status, size, bytes, broken);
  told_ = told.below;
}

std::string Door::sent_head(http::HostedConnection* c) {
  for (const Told* t = told_; t; t = t->below)
    if (t->c == c) return bytes_of(env_->napi(), t->head);
  return {};
}

void Door::ended(http::HostedConnection* c, bool complete) {
  if (find(c->id()) != c) return;
  forget(c->id());
  IntoJs js(env_);
  if (js.ok()) call(c->id(), kEnd, {js_boolean(env_->napi(), complete)});
}

namespace {

// A latin1 string of JavaScript as bytes; long ones on the heap.
class Bytes {
 public:
  Bytes(napi_env env, napi_value v) {
    size_t n = 0;
    if (napi_get_value_string_latin1(env, v, short_, sizeof short_, &n) != napi_ok) return;
    if (n < sizeof short_ - 1) {
      text_ = {short_, n};
      return;
    }
    napi_get_value_string_latin1(env, v, nullptr, 0, &n);
    long_.resize(n + 1);
    napi_get_value_string_latin1(env, v, long_.data(), n + 1, &n);
    text_ = {long_.data(), n};
  }
  operator Str() const { return text_; }

 private:
  char short_[1024];
  std::string long_;
  Str text_;
};

uint32_t number(napi_env env, napi_value v) {
  uint32_t n = 0;
  napi_get_value_uint32(env, v, &n);
  return n;
}

// The bytes of a Buffer or a latin1 string.
template <class F>
void with_bytes(napi_env env, napi_value v, F&& use) {
  void* data = nullptr;
  size_t n = 0;
  bool is_buffer = false;
  if (v) napi_is_buffer(env, v, &is_buffer);
  if (is_buffer && napi_get_buffer_info(env, v, &data, &n) == napi_ok)
    use(Str(static_cast<const char*>(data), n));
  else
    use(Bytes(env, v));
}

// The door of a function of door_object; null: the gateway has ended.
Door* door_of(void* data) {
  Door* door = static_cast<std::shared_ptr<Door>*>(data)->get();
  return door->runtime() ? door : nullptr;
}

// What is known of a connection; read of its texts when it is new here.
const http::HostedPeer* peer_of(napi_env env, Door* door, uint32_t connection, bool ssl,
                                napi_value remote, napi_value local) {
  http::HostedPeer* peer = door->peer(connection);
  if (peer->connection != connection) {
    peer->connection = connection;
    peer->ssl = ssl;
    peer->set_remote(Bytes(env, remote));
    peer->set_local(Bytes(env, local));
  }
  return peer;
}

// begin(id, flags, version, method, url, headers, connection, requests, peer, local): how it is
// passed on; 0: it is not, or not yet. Undefined: the gateway has ended.
napi_value begin(napi_env env, napi_callback_info info) {
  Args<10> args(env, info);
  Door* door = door_of(args.data);
  if (!door || !door->is_open()) return js_undefined(env);
  FromJs from_js(door->env());
  const Bytes method(env, args[3]), url(env, args[4]), headers(env, args[5]);
  http::HostedRequest from;
  const uint32_t flags = number(env, args[1]);
  from.version = static_cast<int>(number(env, args[2]));
  from.method = method;
  from.url = url;
  from.headers = headers;
  from.peer = peer_of(env, door, number(env, args[6]), flags & kSsl, args[8], args[9]);
  from.requests = number(env, args[7]);
  from.body = flags & kHasBody      ? http::HostedBody::kSome
              : flags & kBodyByHead ? http::HostedBody::kByHead
                                    : http::HostedBody::kNone;
  from.stream = flags & kStream;
  from.passes_on = flags & kPassesOn;
  return js_number(env, door->begin(number(env, args[0]), from));
}

// Calls on a request that is there: (id, …). Not there: undefined.
template <class F>
napi_value with(napi_env env, napi_callback_info info, F&& use) {
  Args<5> args(env, info);
  Door* door = door_of(args.data);
  const uint32_t id = number(env, args[0]);
  http::HostedConnection* c = door ? door->find(id) : nullptr;
  if (!c) return js_undefined(env);
  FromJs from(door->env());
  return use(door, c, args);
}

// push(id, bytes): false: enough for now.
napi_value push(napi_env env, napi_callback_info info) {
  return with(env, info, [&](Door*, http::HostedConnection* c, const Args<5>& args) {
    bool more = true;
    with_bytes(env, args[1], [&](Str s) { more = c->push(s); });
    return js_boolean(env, more);
  });
}

napi_value push_end(napi_env env, napi_callback_info info) {
  return with(env, info, [&](Door*, http::HostedConnection* c, const Args<5>&) {
    c->push_end();
    return js_undefined(env);
  });
}

napi_value writable(napi_env env, napi_callback_info info) {
  return with(env, info, [&](Door*, http::HostedConnection* c, const Args<5>&) {
    c->writable();
    return js_undefined(env);
  });
}

napi_value gone(napi_env env, napi_callback_info info) {
  return with(env, info, [&](Door*, http::HostedConnection* c, const Args<5>&) {
    c->gone();
    return js_undefined(env);
  });
}

// answerHead(id, status, text, headers)
napi_value answer_head(napi_env env, napi_callback_info info) {
  return with(env, info, [&](Door*, http::HostedConnection* c, const Args<5>& args) {
    c->take_head(static_cast<int>(number(env, args[1])), Bytes(env, args[2]), Bytes(env, args[3]));
    return js_undefined(env);
  });
}

// answerBody(id, bytes, last, trailers): false: wait for room.
napi_value answer_body(napi_env env, napi_callback_info info) {
  return with(env, info, [&](Door*, http::HostedConnection* c, const Args<5>& args) {
    bool last = false, more = true;
    napi_get_value_bool(env, args[2], &last);
    if (last) c->take_trailers(Bytes(env, args[3]));
    with_bytes(env, args[1], [&](Str s) { more = c->take_body(s, last); });
    return js_boolean(env, more);
  });
}

// answered(id, status, headers, bytes, broken): the host has done it.
napi_value answered(napi_env env, napi_callback_info info) {
  return with(env, info, [&](Door* door, http::HostedConnection* c, const Args<5>& args) {
    bool broken = false;
    double bytes = 0;
    napi_get_value_double(env, args[3], &bytes);
    napi_get_value_bool(env, args[4], &broken);
    door->answered(c, static_cast<int>(number(env, args[1])), args[2], static_cast<int64_t>(bytes),
                   broken);
    return js_undefined(env);
  });
}

// passedRequest(id): "METHOD\nURL\nName\nvalue\n…" of a request that was changed before it was
// passed on.
napi_value passed_request(napi_env env, napi_callback_info info) {
  return with(env, info, [&](Door*, http::HostedConnection* c, const Args<5>&) {
    http::Request* r = c->request;
    std::string text(r->method_name);
    text += '\n';
    text += http::escape(*r->pool, r->uri, http::Escape::kUri);
    if (!r->args.empty()) {
      text += '?';
      text += r->args;
    }
    for (const http::Header& h : r->headers_in.list) {
      if (!h.hash) continue;
      text += '\n';
      text += h.name;
      text += '\n';
      text += h.value;
    }
    return js_latin1(env, text);
  });
}

// passedBody(id): what was read of the client's body, or put in its place.
napi_value passed_body(napi_env env, napi_callback_info info) {
  return with(env, info, [&](Door*, http::HostedConnection* c, const Args<5>&) {
    std::string text;
    const http::Body* body = c->request->body;
    for (const Chain* i = body ? body->bufs : nullptr; i; i = i->next) {
      const Buf* b = i->buf;
      if (b->in_memory()) {
        text += b->bytes();
        continue;
      }
      for (off_t at = b->file_pos; b->in_file && at < b->file_last;) {
        char part[8192];
        const ssize_t n =
            pread(b->file->fd, part,
                  std::min<size_t>(sizeof part, static_cast<size_t>(b->file_last - at)), at);
        if (n <= 0) break;
        text.append(part, static_cast<size_t>(n));
        at += n;
      }
    }
    napi_value buffer = nullptr;
    napi_create_buffer_copy(env, text.size(), text.data(), nullptr, &buffer);
    return buffer;
  });
}

}  // namespace

napi_value door_object(napi_env env, const std::shared_ptr<Door>& door) {
  struct {
    const char* name;
    napi_callback fn;
  } constexpr kCalls[] = {
      {"begin", begin},
      {"push", push},
      {"pushEnd", push_end},
      {"writable", writable},
      {"gone", gone},
      {"answerHead", answer_head},
      {"answerBody", answer_body},
      {"answered", answered},
      {"passedRequest", passed_request},
      {"passedBody", passed_body},
  };
  napi_value object = nullptr;
  napi_create_object(env, &object);
  for (const auto& call : kCalls) {
    // With the function: to unwrap an object at each call takes longer than all else of it.
    auto held = std::make_unique<std::shared_ptr<Door>>(door);
    auto let_go = [](napi_env, void* data, void*) {
      delete static_cast<std::shared_ptr<Door>*>(data);
    };
    napi_value fn = nullptr;
    if (napi_create_function(env, call.name, NAPI_AUTO_LENGTH, call.fn, held.get(), &fn) !=
            napi_ok ||
        napi_add_finalizer(env, fn, held.get(), let_go, nullptr, nullptr) != napi_ok)
      return nullptr;
    held.release();
    js_set(env, object, call.name, fn);
  }
  return object;
}

}  // namespace moonphase::bind
