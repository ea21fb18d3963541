// cjson.encode.
#include <cmath>
#include <cstdint>
#include <cstdio>

#include "ngx/cjson.h"

namespace moonphase::ngx::cjson {

namespace {

// What stands behind the backslash: a letter, 'u' for \u00XX, 0: nothing to escape.
struct Escapes {
  char letter[256] = {};
  constexpr Escapes() {
    for (int c = 0; c < 32; ++c) letter[c] = 'u';
    letter[0x7f] = 'u';
    letter[static_cast<int>('\b')] = 'b';
    letter[static_cast<int>('\t')] = 't';
    letter[static_cast<int>('\n')] = 'n';
    letter[static_cast<int>('\f')] = 'f';
    letter[static_cast<int>('\r')] = 'r';
    letter[static_cast<int>('"')] = '"';
    letter[static_cast<int>('\\')] = '\\';
    letter[static_cast<int>('/')] = '/';
  }
};
constexpr Escapes kEscapes;

// Numbers below this are printed without an exponent, whole ones as integers.
double integer_limit(int precision) {
  double limit = 1;
  while (precision-- > 0) limit *= 10;
  return limit;
}

class Encoder {
 public:
  Encoder(lua_State* L, const Config& config, std::string* out)
      : L_(L),
        config_(config),
        out_(*out),
        integer_limit_(integer_limit(config.encode_number_precision)) {}

  // The value on the top; false: it was left out (encode_skip_unsupported_value_types).
  bool value(int depth) {
    switch (lua_type(L_, -1)) {
      case LUA_TSTRING:
        string(-1);
        return true;
      case LUA_TNUMBER:
        number(-1);
        return true;
      case LUA_TBOOLEAN:
        out_ += lua_toboolean(L_, -1) ? "true" : "false";
        return true;
      case LUA_TNIL:
        out_ += "null";
        return true;
      case LUA_TTABLE:
        table(depth + 1);
        return true;
      case LUA_TLIGHTUSERDATA: {
        void* p = lua_touserdata(L_, -1);
        if (!p) {
          out_ += "null";
          return true;
        }
        if (p == array_key()) {
          out_ += "[]";
          return true;
        }
        break;
      }
      default:
        break;
    }
    if (!config_.encode_skip_unsupported_value_types) fail(-1, "type not supported");
    return false;
  }

 private:
  void fail(int index, const char* reason) {
    luaL_error(L_, "Cannot serialise %s: %s", luaL_typename(L_, index), reason);
  }

  void string(int index) {
    size_t n;
    const char* p = lua_tolstring(L_, index, &n);
    const char* end = p + n;
    out_.push_back('"');
    const char* run = p;
    for (; p < end; ++p) {
      char letter = kEscapes.letter[static_cast<unsigned char>(*p)];
      if (!letter || (letter == '/' && !config_.encode_escape_forward_slash)) continue;
      out_.append(run, static_cast<size_t>(p - run));
      run = p + 1;
      out_.push_back('\\');
      out_.push_back(letter);
      if (letter == 'u') {
        constexpr char kHex[] = "0123456789abcdef";
        out_ += "00";
        out_.push_back(kHex[*p >> 4]);
        out_.push_back(kHex[*p & 15]);
      }
    }
    out_.append(run, static_cast<size_t>(p - run));
    out_.push_back('"');
  }

  void integer(int64_t n) {
    char digits[24];
    char* end = digits + sizeof digits;
    char* p = end;
    uint64_t rest = n < 0 ? 0 - static_cast<uint64_t>(n) : static_cast<uint64_t>(n);
    do {
      *--p = static_cast<char>('0' + rest % 10);
      rest /= 10;
    } while (rest);
    if (n < 0) *--p = '-';
    out_.append(p, static_cast<size_t>(end - p));
  }

  void number(int index) {
    double n = lua_tonumber(L_, index);
    if (std::fabs(n) < integer_limit_ && n == std::floor(n) && !(n == 0 && std::signbit(n))) {
      integer(static_cast<int64_t>(n));
      return;
    }
    if (!std::isfinite(n)) {
      if (config_.encode_invalid_numbers == 0) fail(index, "must not be NaN or Infinity");
      if (config_.encode_invalid_numbers == 2) {
        out_ += "null";
      } else {
        out_ += std::isnan(n) ? "NaN" : n < 0 ? "-Infinity" : "Infinity";
      }
      return;
    }
    char text[40];
    int len = snprintf(text, sizeof text, "%.*g", config_.encode_number_precision, n);
    out_.append(text, static_cast<size_t>(len));
  }

  void new_line(int depth) {
    if (config_.encode_indent.empty()) return;
    out_.push_back('\n');
    for (int i = 0; i < depth; ++i) out_ += config_.encode_indent;
  }

  // How many elements the array on the top has; -1: it is none.
  int array_length() {
    int max = 0, items = 0;
    lua_pushnil(L_);
    while (lua_next(L_, -2)) {
      double k = lua_type(L_, -2) == LUA_TNUMBER ? lua_tonumber(L_, -2) : 0;
      lua_pop(L_, 1);
      if (k < 1 || std::floor(k) != k) {
        lua_pop(L_, 1);
        return -1;
      }
      if (k > max) max = static_cast<int>(k);
      ++items;
    }
    double ratio = config_.encode_sparse_ratio;
    if (ratio > 0 && max > items * ratio && max > config_.encode_sparse_safe) {
      if (!config_.encode_sparse_convert) fail(-1, "excessively sparse array");
      return -1;
    }
    return max;
  }

  bool has_metatable(void* key) {
    if (!lua_getmetatable(L_, -1)) return false;
    lua_pushlightuserdata(L_, key);
    lua_rawget(L_, LUA_REGISTRYINDEX);
    bool same = lua_rawequal(L_, -1, -2);
    lua_pop(L_, 2);
    return same;
  }

  void table(int depth) {
    if (depth > config_.encode_max_depth || !lua_checkstack(L_, 4)) {
      luaL_error(L_, "Cannot serialise, excessive nesting (%d)", depth);
    }
    bool meta = lua_getmetatable(L_, -1);
    if (!meta) {
      plain_table(depth, true);
      return;
    }
    lua_pop(L_, 1);
    if (has_metatable(array_key())) {
      array(depth, static_cast<int>(lua_objlen(L_, -1)), true);
    } else if (luaL_getmetafield(L_, -1, "__len")) {
      lua_pushvalue(L_, -2);
      lua_call(L_, 1, 1);
      int n = static_cast<int>(lua_tonumber(L_, -1));
      lua_pop(L_, 1);
      array(depth, n, false);
    } else {
      plain_table(depth, false);
    }
  }

  void plain_table(int depth, bool raw) {
    int n = array_length();
    if (n > 0 || (n == 0 && !config_.encode_empty_table_as_object)) {
      array(depth, n, raw);
    } else if (!raw && has_metatable(empty_array_key())) {
      array(depth, static_cast<int>(lua_objlen(L_, -1)), true);
    } else {
      object(depth);
    }
  }

  void array(int depth, int n, bool raw) {
    out_.push_back('[');
    bool comma = false;
    for (int i = 1; i <= n; ++i) {
      size_t before = out_.size();
      if (comma) out_.push_back(',');
      new_line(depth);
      if (raw) {
        lua_rawgeti(L_, -1, i);
      } else {
        lua_pushinteger(L_, i);
        lua_gettable(L_, -2);
      }
      if (value(depth)) {
        comma = true;
      } else {
        out_.resize(before);
      }
      lua_pop(L_, 1);
    }
    if (n > 0) new_line(depth - 1);
    out_.push_back(']');
  }

  void object(int depth) {
    out_.push_back('{');
    bool comma = false, any = false;
    lua_pushnil(L_);
    while (lua_next(L_, -2)) {
      any = true;
      size_t before = out_.size();
      if (comma) out_.push_back(',');
      new_line(depth);
      switch (lua_type(L_, -2)) {
        case LUA_TNUMBER:
          out_.push_back('"');
          number(-2);
          out_.push_back('"');
          break;
        case LUA_TSTRING:
          string(-2);
          break;
        default:
          fail(-2, "table key must be a number or string");
      }
      out_.push_back(':');
      if (!config_.encode_indent.empty()) out_.push_back(' ');
      if (value(depth)) {
        comma = true;
      } else {
        out_.resize(before);
      }
      lua_pop(L_, 1);
    }
    if (any) new_line(depth - 1);
    out_.push_back('}');
  }

  lua_State* L_;
  const Config& config_;
  std::string& out_;
  double integer_limit_;
};

}  // namespace

void encode(lua_State* L, const Config& config, std::string* out) {
  Encoder(L, config, out).value(0);
}

}  // namespace moonphase::ngx::cjson
