#include "http/uri.h"

#include "http/connection.h"

namespace moonphase::http {

namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  char l = static_cast<char>(c | 0x20);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

struct Normalised {
  Str path, args, exten;
  bool quoted = false, plus = false;
};

// Steps back over the last segment: `u` is behind "/..". Null: there is none.
char* parent(char* start, char* u) {
  for (u -= 4; u >= start; --u)
    if (*u == '/') return u + 1;
  return nullptr;
}

// Decodes and removes ".", ".." and (with `merge`) repeated slashes; `out` has room for in.size()
// + 1.
bool normalise(Str in, bool empty_path, bool merge, char* out, Normalised* result) {
  enum { kUsual, kSlash, kDot, kDotDot } state = kUsual;
  char* u = out;
  char* ext = nullptr;
  size_t i = 0;
  bool has_args = false;
  if (empty_path) *u++ = '/';

  while (i < in.size()) {
    char c = in[i++];
    if (c == '%') {
      result->quoted = true;
      if (i + 2 > in.size()) return false;
      int high = hex_value(in[i]), low = hex_value(in[i + 1]);
      if (high < 0 || low < 0) return false;
      i += 2;
      c = static_cast<char>(high << 4 | low);
      if (c == '\0') return false;
      if (c == '+') result->plus = true;
      if (c == '%' || c == '#' || c == '?') {
        state = kUsual;
        *u++ = c;
        continue;
      }
    } else if (c == '?') {
      has_args = true;
      break;
    } else if (c == '#') {
      break;
    } else if (c == '+') {
      result->plus = true;
    }

    switch (state) {
      case kUsual:
        if (c == '/') {
          ext = nullptr;
          state = kSlash;
        } else if (c == '.') {
          ext = u + 1;
        }
        *u++ = c;
        break;
      case kSlash:
        if (c == '/') {
          if (!merge) *u++ = c;
          break;
        }
        state = c == '.' ? kDot : kUsual;
        *u++ = c;
        break;
      case kDot:
        if (c == '/') {
          --u;
          state = kSlash;
          break;
        }
        state = c == '.' ? kDotDot : kUsual;
        *u++ = c;
        break;
      case kDotDot:
        if (c == '/') {
          u = parent(out, u);
          if (!u) return false;
          state = kSlash;
          break;
        }
        state = kUsual;
        *u++ = c;
        break;
    }
  }

  if (state == kDot) --u;
  if (state == kDotDot) {
    u = parent(out, u);
    if (!u) return false;
  }
  result->path = {out, static_cast<size_t>(u - out)};
  if (ext && ext <= u) result->exten = {ext, static_cast<size_t>(u - ext)};
  if (has_args) {
    result->args = in.substr(i);
    result->args = result->args.substr(0, result->args.find('#'));
  }
  return true;
}

// What a look at the bytes tells: whether normalising is needed, and where arguments and extension
// begin.
struct Scan {
  bool complex = false, quoted = false, plus = false;
  size_t path_end = 0;  // before "?"
  size_t ext = 0;       // behind the last "."; 0: none
  bool has_args = false;
};

// Bytes that tell nothing but that the slash before them is over.
struct PlainBytes {
  bool yes[256] = {};
  constexpr PlainBytes() {
    for (bool& b : yes) b = true;
    for (char c : {'/', '.', '%', '+', '?', '#'}) yes[static_cast<unsigned char>(c)] = false;
  }
};
constexpr PlainBytes kPlain;

Scan scan(Str s) {
  Scan x;
  bool after_slash = false;
  size_t i = 0;
  bool plain = true;  // nothing met yet that leaves the rest to normalise()
  for (; i < s.size(); ++i) {
    char c = s[i];
    if (kPlain.yes[static_cast<unsigned char>(c)]) {
      after_slash = false;
      continue;
    }
    if (c == '?') break;
    if (c == '#') {
      x.complex = true;
      break;
    }
    if (!plain) continue;
    switch (c) {
      case '/':
        if (after_slash) {
          x.complex = true;
          plain = false;
        }
        after_slash = true;
        x.ext = 0;
        break;
      case '.':
        if (after_slash) {
          x.complex = true;
          plain = false;
        } else {
          x.ext = i + 1;
        }
        break;
      case '%':
        x.quoted = true;
        plain = false;
        break;
      case '+':
        // nginx stays behind its slash here: "/+.x" is complex.
        x.plus = true;
        break;
    }
  }
  x.path_end = i;
  x.has_args = i < s.size() && s[i] == '?';
  if (x.has_args && s.find('#', i) != Str::npos) x.complex = true;
  return x;
}

}  // namespace

int parse_request_uri(Request* r, bool merge_slashes) {
  Str raw = r->unparsed_uri;
  Scan x = scan(raw);
  r->complex_uri = x.complex;
  r->quoted_uri = x.quoted;
  r->plus_in_uri = x.plus;
  r->args = r->exten = Str();
  r->valid_unparsed_uri = !r->empty_path_in_uri;

  if (!x.complex && !x.quoted && !r->empty_path_in_uri) {
    r->uri = raw.substr(0, x.path_end);
    if (x.has_args && raw.size() > x.path_end + 1) r->args = raw.substr(x.path_end + 1);
    if (x.ext) r->exten = r->uri.substr(x.ext);
    return kOk;
  }

  Normalised n;
  char* out = r->pool->bytes(raw.size() + 1);
  if (!normalise(raw, r->empty_path_in_uri, merge_slashes, out, &n)) {
    r->uri = Str(out, 0);  // empty, but there
    return kError;
  }
  r->uri = n.path;
  r->args = n.args.empty() ? Str() : n.args;  // "/x?" has none
  r->exten = n.exten;
  r->quoted_uri = n.quoted;
  r->plus_in_uri = n.plus;
  return kOk;
}

namespace {

// "/../" or "/.." at the end, or a NUL: not a path to hand out.
bool unsafe_path(Str s) {
  if (s.substr(0, 2) == ".." && (s.size() == 2 || s[2] == '/')) return true;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '\0') return true;
    if (s[i] != '/' || s.substr(i + 1, 2) != "..") continue;
    if (i + 3 == s.size() || s[i + 3] == '/') return true;
  }
  return false;
}

}  // namespace

int parse_unsafe_uri(Request* r, Str* uri, Str* args, unsigned* flags) {
  bool bad = uri->empty() || (*uri)[0] == '?';
  if (!bad) {
    size_t q = uri->find('?');
    Str path = uri->substr(0, q);
    bad = unsafe_path(path);
    if (!bad && q != Str::npos) {
      *args = uri->substr(q + 1);
      *uri = path;
    }
    if (!bad && path.find('%') != Str::npos) {
      char* out = r->pool->bytes(path.size());
      *uri = {out, static_cast<size_t>(unescape(out, path, Unescape::kPlain) - out)};
      bad = unsafe_path(*uri);
    }
  }
  if (!bad) return kOk;
  if (*flags & kLogUnsafe)
    log_write(r->conn->log, r->conn, kLogErr, 0, "unsafe URI \"%.*s\" was detected", STR(*uri));
  return kError;
}

void set_exten(Request* r) {
  r->exten = Str();
  Str uri = r->uri;
  for (size_t i = uri.size(); i-- > 2;) {
    if (uri[i] == '.' && uri[i - 1] != '/') {
      r->exten = uri.substr(i + 1);
      return;
    }
    if (uri[i] == '/') return;
  }
}

}  // namespace moonphase::http
