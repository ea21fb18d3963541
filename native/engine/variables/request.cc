// Variables of the request: its line, URI, arguments, body, files.
#include <climits>
#include <cstdlib>

#include <sys/random.h>
#include <unistd.h>

#include "engine/lifecycle.h"
#include "engine/path.h"
#include "engine/runtime.h"
#include "engine/variables/core.h"
#include "http/body.h"

namespace moonphase::engine {

namespace {

int get_text(VarValue* v, Str s) { return s.data() ? found(v, s) : not_found(v); }

int server_protocol(Request* r, VarValue* v, Str, uintptr_t) {
  return get_text(v, r->http_protocol);
}
int request_uri(Request* r, VarValue* v, Str, uintptr_t) { return get_text(v, r->unparsed_uri); }
int uri(Request* r, VarValue* v, Str, uintptr_t) { return get_text(v, r->uri); }
int request_line(Request* r, VarValue* v, Str, uintptr_t) { return get_text(v, r->request_line); }
int args(Request* r, VarValue* v, Str, uintptr_t) { return get_text(v, r->args); }
int is_args(Request* r, VarValue* v, Str, uintptr_t) {
  return found(v, r->args.empty() ? "" : "?");
}
int request_method(Request* r, VarValue* v, Str, uintptr_t) {
  return get_text(v, r->main->method_name);
}

int set_args(Request* r, VarValue* v, uintptr_t) {
  r->args = v->not_found ? Str() : v->data.data() ? v->data : Str("");
  r->valid_unparsed_uri = false;
  return kOk;
}

int limit_rate(Request* r, VarValue* v, Str, uintptr_t) {
  return found_number(r, v, static_cast<int64_t>(r->limit_rate));
}

int set_limit_rate(Request* r, VarValue* v, uintptr_t) {
  int64_t size = parse_size(v->data);
  if (size < 0) {
    MOONPHASE_LOG(r, kLogErr, 0, "invalid $limit_rate \"%.*s\"", STR(v->data));
    return kOk;
  }
  r->limit_rate = static_cast<uint64_t>(size);
  r->limit_rate_set = true;
  return kOk;
}

int document_root(Request* r, VarValue* v, Str, uintptr_t) { return found(v, root_of(r)); }

int realpath_root(Request* r, VarValue* v, Str, uintptr_t) {
  char real[PATH_MAX];
  const char* path = r->pool->c_str(root_of(r));
  if (!realpath(path, real)) {
    MOONPHASE_LOG(r, kLogCrit, errno, "realpath() \"%s\" failed", path);
    return kError;
  }
  return found(v, r->pool->copy(real));
}

int request_filename(Request* r, VarValue* v, Str, uintptr_t) {
  Path path;
  return map_uri_to_path(r, &path) ? found(v, path.name) : int{kError};
}

int remote_user(Request* r, VarValue* v, Str, uintptr_t) {
  return basic_user(r) == kOk ? found(v, r->headers_in.user) : not_found(v);
}

int request_body(Request* r, VarValue* v, Str, uintptr_t) {
  if (!r->body || !r->body->bufs || r->body->temp_file) return not_found(v);
  const Chain* c = r->body->bufs;
  if (!c->next) return found(v, c->buf->bytes());
  size_t size = 0;
  for (; c; c = c->next) size += c->buf->bytes().size();
  char* start = r->pool->bytes(size);
  char* p = start;
  for (c = r->body->bufs; c; c = c->next) {
    Str s = c->buf->bytes();
    if (s.size()) std::memcpy(p, s.data(), s.size());
    p += s.size();
  }
  return found(v, {start, size});
}

int request_body_file(Request* r, VarValue* v, Str, uintptr_t) {
  if (!r->body || !r->body->temp_file) return not_found(v);
  return found(v, r->body->temp_file->name);
}

int request_length(Request* r, VarValue* v, Str, uintptr_t) {
  return found_number(r, v, r->request_length);
}

// 16 random bytes in hexadecimal; the kernel is asked for many at once.
int request_id(Request* r, VarValue* v, Str, uintptr_t) {
  static thread_local uint8_t random[1024];
  static thread_local size_t used = sizeof random;
  if (used == sizeof random) {
    for (size_t got = 0; got < sizeof random;) {
      ssize_t n = getrandom(random + got, sizeof random - got, 0);
      if (n > 0) got += static_cast<size_t>(n);
    }
    used = 0;
  }
  char* id = r->pool->bytes(32);
  for (int i = 0; i < 16; ++i) {
    uint8_t byte = random[used++];
    id[2 * i] = "0123456789abcdef"[byte >> 4];
    id[2 * i + 1] = "0123456789abcdef"[byte & 15];
  }
  return found(v, {id, 32});
}

// The port that the client named in Host or in an absolute request line; "" when it named none.
Str named_port(const Request* r) {
  Str host = r->host_in_line;
  if (host.empty() && r->headers_in.host) host = r->headers_in.host->value;
  size_t colon = host.rfind(':');
  if (colon == Str::npos || host.find(']', colon) != Str::npos) return "";
  Str port = host.substr(colon + 1);
  int64_t n = 0;
  for (char c : port) {
    if (c < '0' || c > '9' || n > 65535) return "";
    n = n * 10 + (c - '0');
  }
  return n > 0 && n < 65536 ? port : "";
}
int request_port(Request* r, VarValue* v, Str, uintptr_t) { return found(v, named_port(r)); }
int is_request_port(Request* r, VarValue* v, Str, uintptr_t) {
  return found(v, named_port(r).empty() ? "" : ":");
}

int pipe(Request* r, VarValue* v, Str, uintptr_t) { return found(v, r->pipeline ? "p" : "."); }

int hostname(Request*, VarValue* v, Str, uintptr_t) {
  static const std::string name = [] {
    char buf[256] = "";
    gethostname(buf, sizeof buf - 1);
    std::string s = buf;
    for (char& c : s)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    return s;
  }();
  return found(v, name);
}

int process_id(Request* r, VarValue* v, Str, uintptr_t) { return found_number(r, v, getpid()); }

int nginx_version(Request* r, VarValue* v, Str, uintptr_t) {
  Str token = generation(r)->runtime->options.server_version;
  return found(v, token.substr(token.find('/') + 1));
}

}  // namespace

int64_t parse_size(Str s) {
  if (s.empty()) return -1;
  int shift = 0;
  switch (s.back()) {
    case 'k':
    case 'K':
      shift = 10;
      break;
    case 'm':
    case 'M':
      shift = 20;
      break;
  }
  if (shift) s.remove_suffix(1);
  if (s.empty()) return -1;
  int64_t n = 0;
  for (char c : s) {
    if (c < '0' || c > '9' || n > INT64_MAX / 10 - 1) return -1;
    n = n * 10 + (c - '0');
  }
  return n > (INT64_MAX >> shift) ? -1 : n << shift;
}

const VariableDef kRequestVariables[] = {
    {"server_protocol", server_protocol, nullptr, 0, 0},
    {"request_uri", request_uri, nullptr, 0, 0},
    {"uri", uri, nullptr, 0, kVarNoCacheable},
    {"document_uri", uri, nullptr, 0, kVarNoCacheable},
    {"request", request_line, nullptr, 0, 0},
    {"document_root", document_root, nullptr, 0, kVarNoCacheable},
    {"realpath_root", realpath_root, nullptr, 0, kVarNoCacheable},
    {"query_string", args, nullptr, 0, kVarNoCacheable},
    {"args", args, set_args, 0, kVarChangeable | kVarNoCacheable},
    {"is_args", is_args, nullptr, 0, kVarNoCacheable},
    {"request_filename", request_filename, nullptr, 0, kVarNoCacheable},
    {"request_method", request_method, nullptr, 0, kVarNoCacheable},
    {"remote_user", remote_user, nullptr, 0, 0},
    {"request_body", request_body, nullptr, 0, 0},
    {"request_body_file", request_body_file, nullptr, 0, 0},
    {"request_length", request_length, nullptr, 0, kVarNoCacheable},
    {"request_id", request_id, nullptr, 0, 0},
    {"request_port", request_port, nullptr, 0, 0},
    {"is_request_port", is_request_port, nullptr, 0, 0},
    {"limit_rate", limit_rate, set_limit_rate, 0, kVarChangeable | kVarNoCacheable},
    {"pipe", pipe, nullptr, 0, 0},
    {"hostname", hostname, nullptr, 0, 0},
    {"pid", process_id, nullptr, 0, 0},
    {"nginx_version", nginx_version, nullptr, 0, 0},
    {nullptr, nullptr, nullptr, 0, 0},
};

}  // namespace moonphase::engine
