#include "http/parse.h"

namespace moonphase::http {

namespace {

enum HeadState : int { kHeadStart, kName, kBeforeValue, kValue, kHeadLineFeed, kLastLineFeed };

// 1: belongs in a name; 2: "_"; 0: tolerated but makes the name invalid; 3: ends or breaks the
// name.
struct NameTable {
  uint8_t kind[256] = {};
  constexpr NameTable() {
    for (int c = 0; c < 256; ++c) {
      bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
      if (alnum || c == '-')
        kind[c] = 1;
      else if (c == '_')
        kind[c] = 2;
      else if (c <= 0x20 || c == 0x7f || c == ':')
        kind[c] = 3;
    }
  }
};
constexpr NameTable kNames;

// The first byte of [p, last) that is '\r' or below: what may end a value.
char* skip_value(char* p, char* last) {
  using Bytes = unsigned char __attribute__((vector_size(16)));
  using Words = uint64_t __attribute__((vector_size(16)));
  while (last - p >= 16) {
    Bytes v;
    std::memcpy(&v, p, 16);
    auto low = reinterpret_cast<Words>(v <= '\r');
    if (low[0]) return p + __builtin_ctzll(low[0]) / 8;
    if (low[1]) return p + 8 + __builtin_ctzll(low[1]) / 8;
    p += 16;
  }
  while (p<last&& static_cast<unsigned char>(*p)> '\r') ++p;
  return p;
}

// Bytes that end a run of value bytes.
bool ends_value(char c) {
  return static_cast<unsigned char>(c) <= '\r' && (c == '\r' || c == '\n' || c == '\0');
}

}  // namespace

// "Name: value\r\n" as everybody sends it, when the whole line is there. All else is the state
// machine's.
bool HeaderParser::parse_common(char*& pos, char* last) {
  char* p = pos;
  while (p < last && kNames.kind[static_cast<unsigned char>(*p)] == 1) ++p;
  if (last - p < 4 || *p != ':' || p == pos) return false;
  char* colon = p++;
  if (*p == ' ') ++p;
  if (*p == ' ') return false;
  char* value = p;
  p = skip_value(p, last);
  if (last - p < 2 || p[0] != '\r' || p[1] != '\n' || p == value) return false;
  name_start = pos;
  name_end = colon;
  value_start = value;
  value_end = p;
  while (value_end[-1] == ' ') --value_end;
  invalid = false;
  pos = p + 2;
  return true;
}

int HeaderParser::parse(char*& pos, char* last, bool underscores) {
  if (state == kHeadStart && parse_common(pos, last)) return kOk;
  char* p = pos;
  for (; p < last; ++p) {
    char c = *p;
    switch (state) {
      case kHeadStart: {
        name_start = p;
        name_end = value_start = value_end = nullptr;
        invalid = false;
        if (c == '\r') {
          value_end = p;
          state = kLastLineFeed;
          break;
        }
        if (c == '\n') {
          value_end = p;
          goto headers_done;
        }
        uint8_t kind = kNames.kind[static_cast<unsigned char>(c)];
        if (kind == 3) {
          value_end = p;
          return kBadHeader;
        }
        if (kind == 0 || (kind == 2 && !underscores)) invalid = true;
        state = kName;
        break;
      }

      case kName: {
        uint8_t kind;
        for (;;) {
          while ((kind = kNames.kind[static_cast<unsigned char>(c)]) == 1) {
            if (++p == last) goto again;
            c = *p;
          }
          if (kind == 3) break;
          if (kind == 0 || !underscores) invalid = true;
          if (++p == last) goto again;
          c = *p;
        }
        name_end = p;
        if (c == ':') {
          state = kBeforeValue;
        } else if (c == '\r') {
          value_start = value_end = p;
          state = kHeadLineFeed;
        } else if (c == '\n') {
          value_start = value_end = p;
          goto line_done;
        } else {
          value_end = p;
          return kBadHeader;
        }
        break;
      }

      case kBeforeValue:
        if (c == ' ') break;
        value_start = value_end = p;
        if (c == '\r') {
          state = kHeadLineFeed;
        } else if (c == '\n') {
          goto line_done;
        } else if (c == '\0') {
          return kBadHeader;
        } else {
          state = kValue;
        }
        break;

      case kValue:
        while (!ends_value(c)) {
          if (++p == last) goto again;
          c = *p;
        }
        value_end = p;
        while (value_end[-1] == ' ') --value_end;
        if (c == '\r') {
          state = kHeadLineFeed;
        } else if (c == '\n') {
          goto line_done;
        } else {
          value_end = p;
          return kBadHeader;
        }
        break;

      case kHeadLineFeed:
        if (c == '\n') goto line_done;
        if (c != '\r') return kBadHeader;
        break;

      case kLastLineFeed:
        if (c != '\n') return kBadHeader;
        goto headers_done;
    }
  }
again:
  pos = p;
  return kAgain;

line_done:
  pos = p + 1;
  state = kHeadStart;
  return kOk;

headers_done:
  pos = p + 1;
  state = kHeadStart;
  return kParseHeadersDone;
}

void HeaderParser::shift(ptrdiff_t by) {
  for (char** p : {&name_start, &name_end, &value_start, &value_end})
    if (*p) *p += by;
}

}  // namespace moonphase::http
