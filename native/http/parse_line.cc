#include "http/parse.h"

namespace moonphase::http {

namespace {

enum LineState : int {
  kStart,
  kMethod,
  kBeforeUri,
  kSchema,
  kSchemaSlash,
  kSchemaSlashSlash,
  kBeforeHost,
  kHostStart,
  kHost,
  kHostEnd,
  kIpLiteral,
  kPortStart,
  kPort,
  kUri,
  kAfterUri,
  kProtocol1,  // behind "H"
  kProtocol2,
  kProtocol3,
  kProtocol4,
  kFirstMajor,
  kMajor,
  kFirstMinor,
  kMinor,
  kAfterVersion,
  kLineFeed,
};

bool is_alpha(char c) {
  char l = static_cast<char>(c | 0x20);
  return l >= 'a' && l <= 'z';
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_method_char(char c) { return (c >= 'A' && c <= 'Z') || c == '_' || c == '-'; }

bool in_ip_literal(char c) {
  if (is_alpha(c) || is_digit(c)) return true;
  switch (c) {
    case ':':
    case '-':
    case '.':
    case '_':
    case '~':
    case '!':
    case '$':
    case '&':
    case '\'':
    case '(':
    case ')':
    case '*':
    case '+':
    case ',':
    case ';':
    case '=':
      return true;
  }
  return false;
}

}  // namespace

uint32_t method_number(Str name) {
  switch (name.size()) {
    case 3:
      if (name == "GET") return kGet;
      if (name == "PUT") return kPut;
      break;
    case 4:
      if (name == "POST") return kPost;
      if (name == "HEAD") return kHead;
      if (name == "COPY") return kCopy;
      if (name == "MOVE") return kMove;
      if (name == "LOCK") return kLock;
      break;
    case 5:
      if (name == "MKCOL") return kMkcol;
      if (name == "PATCH") return kPatch;
      if (name == "TRACE") return kTrace;
      break;
    case 6:
      if (name == "DELETE") return kDelete;
      if (name == "UNLOCK") return kUnlock;
      break;
    case 7:
      if (name == "OPTIONS") return kOptions;
      if (name == "CONNECT") return kConnect;
      break;
    case 8:
      if (name == "PROPFIND") return kPropfind;
      break;
    case 9:
      if (name == "PROPPATCH") return kProppatch;
      break;
  }
  return kUnknownMethod;
}

int LineParser::parse(char*& pos, char* last) {
  char* p = pos;
  for (; p < last; ++p) {
    char c = *p;
    switch (state) {
      case kStart:
        if (c == '\r' || c == '\n') break;
        start = p;
        if (!is_method_char(c)) return kBadMethod;
        state = kMethod;
        if (last - p > 5 && std::memcmp(p, "GET /", 5) == 0) {
          method = kGet;
          method_end = p + 3;
          uri_start = p + 4;
          p += 4;
          state = kUri;
        }
        break;

      case kMethod:
        while (is_method_char(c)) {
          if (++p == last) goto again;
          c = *p;
        }
        if (c != ' ') return kBadMethod;
        method_end = p;
        method = method_number({start, static_cast<size_t>(p - start)});
        state = method == kConnect ? kBeforeHost : kBeforeUri;
        break;

      case kBeforeUri:
        if (c == '/') {
          uri_start = p;
          state = kUri;
        } else if (is_alpha(c)) {
          schema_start = p;
          state = kSchema;
        } else if (c != ' ') {
          return kBadRequest;
        }
        break;

      case kSchema:
        if (is_alpha(c) || is_digit(c) || c == '+' || c == '-' || c == '.') break;
        if (c != ':') return kBadRequest;
        schema_end = p;
        state = kSchemaSlash;
        break;
      case kSchemaSlash:
        if (c != '/') return kBadRequest;
        state = kSchemaSlashSlash;
        break;
      case kSchemaSlashSlash:
        if (c != '/') return kBadRequest;
        state = kHostStart;
        break;

      case kBeforeHost:
        if (c == ' ') break;
        [[fallthrough]];
      case kHostStart:
        host_start = p;
        if (c == '[') {
          state = kIpLiteral;
          break;
        }
        state = kHost;
        [[fallthrough]];
      case kHost:
        if (is_alpha(c) || is_digit(c) || c == '.' || c == '-') break;
        [[fallthrough]];
      case kHostEnd:
        if (c == ':') {
          state = kPortStart;
          break;
        }
        if (method == kConnect) return kBadRequest;
        goto host_done;

      case kIpLiteral:
        if (c == ']')
          state = kHostEnd;
        else if (!in_ip_literal(c))
          return kBadRequest;
        break;

      case kPortStart:
        state = kPort;
        if (is_digit(c)) break;
        if (method == kConnect) return kBadRequest;
        goto host_done;
      case kPort:
        if (is_digit(c)) break;
        if (method == kConnect) {
          if (c != ' ') return kBadRequest;
          host_end = p;
          state = kAfterUri;
          break;
        }
      host_done:
        host_end = p;
        if (c == '/') {
          uri_start = p;
          state = kUri;
        } else if (c == '?') {
          uri_start = p;
          empty_path = true;
          state = kUri;
        } else if (c == ' ') {
          // The path is the "/" behind "http:".
          uri_start = schema_end + 1;
          uri_end = schema_end + 2;
          state = kAfterUri;
        } else {
          return kBadRequest;
        }
        break;

      case kUri:
        while (static_cast<unsigned char>(c) > ' ' && c != 0x7f) {
          if (++p == last) goto again;
          c = *p;
        }
        uri_end = p;
        if (c == ' ') {
          state = kAfterUri;
          break;
        }
        minor = 9;
        if (c == '\n') goto done;
        if (c != '\r') return kBadRequest;
        state = kLineFeed;
        break;

      case kAfterUri:
        if (c == ' ') break;
        if (c == 'H') {
          protocol = p;
          state = kProtocol1;
          // What almost everybody sends, at once.
          if (last - p >= 10 && std::memcmp(p, "HTTP/1.1\r\n", 10) == 0 && method != kConnect) {
            major = minor = 1;
            end = p + 8;
            p += 9;
            goto done;
          }
          break;
        }
        minor = 9;
        if (c == '\n') goto done;
        if (c != '\r') return kBadRequest;
        state = kLineFeed;
        break;

      case kProtocol1:
      case kProtocol2:
      case kProtocol3:
      case kProtocol4:
        if (c != "TTP/"[state - kProtocol1]) return kBadRequest;
        ++state;
        if (state == kFirstMajor && method == kConnect) {
          uri_start = p;
          uri_end = p + 1;
        }
        break;

      case kFirstMajor:
        if (c < '1' || c > '9') return kBadRequest;
        major = c - '0';
        if (major > 1) return kBadVersion;
        state = kMajor;
        break;
      case kMajor:
        if (c == '.') {
          state = kFirstMinor;
          break;
        }
        if (!is_digit(c)) return kBadRequest;
        major = major * 10 + (c - '0');
        if (major > 1) return kBadVersion;
        break;
      case kFirstMinor:
        if (!is_digit(c)) return kBadRequest;
        minor = c - '0';
        state = kMinor;
        break;
      case kMinor:
        if (c == '\r') {
          state = kLineFeed;
        } else if (c == '\n') {
          goto done;
        } else if (c == ' ') {
          state = kAfterVersion;
        } else {
          if (!is_digit(c) || minor > 99) return kBadRequest;
          minor = minor * 10 + (c - '0');
        }
        break;
      case kAfterVersion:
        if (c == ' ') break;
        if (c == '\n') goto done;
        if (c != '\r') return kBadRequest;
        state = kLineFeed;
        break;

      case kLineFeed:
        end = p - 1;
        if (c != '\n') return kBadRequest;
        goto done;
    }
  }
again:
  pos = p;
  return kAgain;

done:
  pos = p + 1;
  if (!end) end = p;
  state = kStart;
  // HTTP/0.9 knows GET only.
  if (major == 0 && minor == 9 && method != kGet) return kBad09Method;
  return kOk;
}

void LineParser::shift(ptrdiff_t by) {
  for (char** p : {&start, &end, &method_end, &uri_start, &uri_end, &schema_start, &schema_end,
                   &host_start, &host_end, &protocol})
    if (*p) *p += by;
}

}  // namespace moonphase::http
