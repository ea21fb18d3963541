// cjson.decode by lua-cjson's own rules and with its messages.
#include <strings.h>

#include <cstdlib>
#include <cstring>

#include "ngx/cjson.h"

namespace moonphase::ngx::cjson {

namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void append_utf8(std::string* out, unsigned c) {
  auto put = [out](unsigned b) { out->push_back(static_cast<char>(b)); };
  if (c < 0x80) {
    put(c);
    return;
  }
  if (c < 0x800) {
    put(0xc0 | c >> 6);
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12);
    put(0x80 | (c >> 6 & 63));
  } else {
    put(0xf0 | c >> 18);
    put(0x80 | (c >> 12 & 63));
    put(0x80 | (c >> 6 & 63));
  }
  put(0x80 | (c & 63));
}

constexpr Str kLetters = "\"\\/btnfr", kMeanings = "\"\\/\b\t\n\f\r";

// The text ends with a NUL, as Lua's strings do, and a NUL inside ends it too.
class Decoder {
 public:
  Decoder(lua_State* L, const Config& config, const char* text)
      : L_(L), config_(config), start_(text), p_(text) {}

  void document() {
    next();
    value();
    next();
    if (token_ != kEnd) fail("the end");
  }

 private:
  // Punctuation is its own character.
  enum Token {
    kEnd = 0,
    kString = 's',
    kNumber = 'n',
    kTrue = 't',
    kFalse = 'f',
    kNull = 'z',
    kError = 'e'
  };

  const char* found() const {
    switch (token_) {
      case kEnd:
        return "T_END";
      case kString:
        return "T_STRING";
      case kNumber:
        return integer_ ? "T_INTEGER" : "T_NUMBER";
      case kTrue:
      case kFalse:
        return "T_BOOLEAN";
      case kNull:
        return "T_NULL";
      case '{':
        return "T_OBJ_BEGIN";
      case '}':
        return "T_OBJ_END";
      case '[':
        return "T_ARR_BEGIN";
      case ']':
        return "T_ARR_END";
      case ':':
        return "T_COLON";
      case ',':
        return "T_COMMA";
      default:
        return error_;
    }
  }
  void fail(const char* expected) {
    luaL_error(L_, "Expected %s but found %s at character %d", expected, found(),
               static_cast<int>(at_ - start_) + 1);
  }
  void error(const char* what) {
    token_ = kError;
    error_ = what;
    at_ = p_;
  }

  // False: a comment does not end.
  bool skip_space() {
    for (;;) {
      p_ += std::strspn(p_, " \t\n\r");
      if (!config_.decode_allow_comment || p_[0] != '/') return true;
      if (p_[1] == '/') {
        p_ += std::strcspn(p_, "\n");
      } else if (p_[1] == '*') {
        const char* end = std::strstr(p_ + 2, "*/");
        if (!end) {
          p_ += std::strlen(p_);
          return false;
        }
        p_ = end + 2;
      } else {
        return true;
      }
    }
  }

  bool word(const char* text, int token) {
    size_t n = std::strlen(text);
    if (std::strncmp(p_, text, n) != 0) return false;
    token_ = token;
    p_ += n;
    return true;
  }

  void next() {
    if (!skip_space()) {
      error("unclosed multi-line comment");
      return;
    }
    at_ = p_;
    char c = *p_;
    if (c == 0) {
      token_ = kEnd;
    } else if (std::strchr("{}[],:", c)) {
      token_ = c;
      ++p_;
    } else if (c == '"') {
      string();
    } else if (c == '-' || (c >= '0' && c <= '9')) {
      if (!config_.decode_invalid_numbers && odd_number()) {
        error("invalid number");
      } else {
        number();
      }
    } else if (word("true", kTrue) || word("false", kFalse) || word("null", kNull)) {
      return;
    } else if (std::strchr("+iInN", c) && config_.decode_invalid_numbers && odd_number()) {
      number();
    } else {
      error("invalid token");
    }
  }

  // Numbers that strtod takes and JSON has not: +1, 0x1, 01, inf, nan.
  bool odd_number() const {
    const char* p = p_;
    if (*p == '+') return true;
    if (*p == '-') ++p;
    if (*p == '0') return (p[1] | 0x20) == 'x' || (p[1] >= '0' && p[1] <= '9');
    return strncasecmp(p, "inf", 3) == 0 || strncasecmp(p, "nan", 3) == 0;
  }

  void number() {
    char* end;
    std::strtoll(p_, &end, 10);
    integer_ = end != p_ && (!*end || !std::strchr(".eEx", *end));
    number_ = std::strtod(p_, &end);
    if (end == p_) {
      error("invalid number");
      return;
    }
    if (integer_ && number_ == 0) number_ = 0;  // of "-00"
    token_ = kNumber;
    p_ = end;
  }

  int hex4(const char* p) const {
    int n = 0;
    for (int i = 0; i < 4; ++i) {
      int digit = hex_value(p[i]);
      if (digit < 0) return -1;
      n = n << 4 | digit;
    }
    return n;
  }

  // At "\u": one escape, or two for a pair of surrogates.
  bool unicode_escape() {
    int c = hex4(p_ + 2);
    if (c < 0) return false;
    size_t n = 6;
    if ((c & 0xf800) == 0xd800) {
      if (c & 0x400 || p_[6] != '\\' || p_[7] != 'u') return false;
      int low = hex4(p_ + 8);
      if (low < 0 || (low & 0xfc00) != 0xdc00) return false;
      c = ((c & 0x3ff) << 10 | (low & 0x3ff)) + 0x10000;
      n = 12;
    }
    append_utf8(&string_, static_cast<unsigned>(c));
    p_ += n;
    return true;
  }

  void string() {
    string_.clear();
    ++p_;
    while (*p_ != '"') {
      if (*p_ == 0) {
        error("unexpected end of string");
        return;
      }
      if (*p_ != '\\') {
        string_.push_back(*p_++);
        continue;
      }
      char c = p_[1];
      if (c == 'u') {
        if (unicode_escape()) continue;
        error("invalid unicode escape code");
        return;
      }
      size_t which = kLetters.find(c);
      if (which == Str::npos) {
        error("invalid escape code");
        return;
      }
      string_.push_back(kMeanings[which]);
      p_ += 2;
    }
    ++p_;
    token_ = kString;
  }

  void descend() {
    ++depth_;
    if (depth_ > config_.decode_max_depth || !lua_checkstack(L_, 4)) {
      luaL_error(L_, "Found too many nested data structures (%d) at character %d", depth_,
                 static_cast<int>(p_ - start_));
    }
  }

  void value() {
    switch (token_) {
      case kString:
        lua_pushlstring(L_, string_.data(), string_.size());
        break;
      case kNumber:
        lua_pushnumber(L_, number_);
        break;
      case kTrue:
      case kFalse:
        lua_pushboolean(L_, token_ == kTrue);
        break;
      case kNull:
        lua_pushlightuserdata(L_, nullptr);
        break;
      case '{':
        object();
        break;
      case '[':
        array();
        break;
      default:
        fail("value");
    }
  }

  void object() {
    descend();
    lua_newtable(L_);
    next();
    if (token_ != '}') {
      for (;;) {
        if (token_ != kString) fail("object key string");
        lua_pushlstring(L_, string_.data(), string_.size());
        next();
        if (token_ != ':') fail("colon");
        next();
        value();
        lua_rawset(L_, -3);
        next();
        if (token_ == '}') break;
        if (token_ != ',') fail("comma or object end");
        next();
      }
    }
    --depth_;
  }

  void array() {
    descend();
    lua_newtable(L_);
    if (config_.decode_array_with_array_mt) {
      lua_pushlightuserdata(L_, array_key());
      lua_rawget(L_, LUA_REGISTRYINDEX);
      lua_setmetatable(L_, -2);
    }
    next();
    if (token_ != ']') {
      for (int i = 1;; ++i) {
        value();
        lua_rawseti(L_, -2, i);
        next();
        if (token_ == ']') break;
        if (token_ != ',') fail("comma or array end");
        next();
      }
    }
    --depth_;
  }

  lua_State* L_;
  const Config& config_;
  const char* start_;
  const char* p_;
  const char* at_ = nullptr;  // where the token begins
  int token_ = kEnd;
  int depth_ = 0;
  double number_ = 0;
  bool integer_ = false;
  std::string string_;
  const char* error_ = "";
};

}  // namespace

void decode_leniently(lua_State* L, const Config& config, Str text) {
  Decoder(L, config, text.data()).document();
}

}  // namespace moonphase::ngx::cjson
