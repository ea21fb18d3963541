#include "bind/encoded.h"

#include <cstring>
#include <vector>

#include "bind/napi_util.h"
#include "bind/utf8.h"

namespace moonphase::bind {

namespace {

// The tags of string.buffer. A table's tag has bit 0 set if it has a hash part; 2 more stand for an
// array from 0 on, 4 for one from 1 on, whose count includes the slot 0.
enum Tag : uint32_t {
  kNil = 0,
  kFalse,
  kTrue,
  kNull,
  kInt = 6,
  kNum,
  kTab,
  kInt64 = 0x10,
  kUint64,
  kStr = 0x20
};
constexpr int kDeepest = 100;  // as string.buffer

class Encoder {
 public:
  Encoder(napi_env env, std::string* out) : env_(env), out_(*out) {}

  const char* value(napi_value v, int depth) {
    double number = 0;
    bool flag = false;
    switch (js_type(env_, v)) {
      case napi_undefined:
        tag(kNil);
        return nullptr;
      case napi_null:
        tag(kNull);
        return nullptr;
      case napi_boolean:
        napi_get_value_bool(env_, v, &flag);
        tag(flag ? kTrue : kFalse);
        return nullptr;
      case napi_number:
        napi_get_value_double(env_, v, &number);
        tag(kNum);
        bytes(&number, sizeof number);
        return nullptr;
      case napi_string:
        text(text_of(env_, v));
        return nullptr;
      case napi_bigint:
        return big(v);
      case napi_object:
        return depth >= kDeepest ? "the value is nested too deep" : object(v, depth + 1);
      default:
        return "the value holds a function or a symbol";
    }
  }

 private:
  void tag(uint32_t t) { out_ += static_cast<char>(t); }
  void bytes(const void* p, size_t n) { out_.append(static_cast<const char*>(p), n); }
  void count(uint32_t n) {
    if (n < 0xe0) {
      tag(n);
    } else if (n < 0x1fe0) {
      n -= 0xe0;
      tag(0xe0 | n >> 8);
      tag(n & 0xff);
    } else {
      tag(0xff);
      bytes(&n, sizeof n);
    }
  }
  void text(Str s) {
    count(static_cast<uint32_t>(kStr + s.size()));
    out_ += s;
  }
  const char* big(napi_value v) {
    int64_t i = 0;
    uint64_t u = 0;
    bool exact = false;
    napi_get_value_bigint_int64(env_, v, &i, &exact);
    if (exact) {
      tag(kInt64);
      bytes(&i, sizeof i);
      return nullptr;
    }
    napi_get_value_bigint_uint64(env_, v, &u, &exact);
    if (!exact) return "the value holds a bigint of more than 64 bits";
    tag(kUint64);
    bytes(&u, sizeof u);
    return nullptr;
  }
  const char* object(napi_value v, int depth) {
    bool is = false;
    napi_is_buffer(env_, v, &is);
    if (is) {
      void* data = nullptr;
      size_t n = 0;
      napi_get_buffer_info(env_, v, &data, &n);
      text({static_cast<const char*>(data), n});
      return nullptr;
    }
    napi_is_array(env_, v, &is);
    if (is) return array(v, depth);
    napi_value names = nullptr;
    uint32_t n = 0;
    napi_get_all_property_names(
        env_, v, napi_key_own_only,
        static_cast<napi_key_filter>(napi_key_enumerable | napi_key_skip_symbols),
        napi_key_numbers_to_strings, &names);
    napi_get_array_length(env_, names, &n);
    std::vector<std::pair<napi_value, napi_value>> fields;
    for (uint32_t i = 0; i < n; ++i) {
      napi_value name = nullptr, field = nullptr;
      napi_get_element(env_, names, i, &name);
      if (napi_get_property(env_, v, name, &field) != napi_ok) return "a property throws";
      if (js_type(env_, field) != napi_undefined) fields.emplace_back(name, field);
    }
    tag(kTab + (fields.empty() ? 0 : 1));
    if (!fields.empty()) count(static_cast<uint32_t>(fields.size()));
    for (auto& [name, field] : fields) {
      text(text_of(env_, name));
      if (const char* error = value(field, depth)) return error;
    }
    return nullptr;
  }
  const char* array(napi_value v, int depth) {
    uint32_t n = 0;
    napi_get_array_length(env_, v, &n);
    tag(kTab + (n > 0 ? 4 : 0));
    if (n > 0) count(n + 1);
    for (uint32_t i = 0; i < n; ++i) {
      napi_value item = nullptr;
      napi_get_element(env_, v, i, &item);
      if (const char* error = value(item, depth)) return error;
    }
    return nullptr;
  }

  napi_env env_;
  std::string& out_;
};

class Decoder {
 public:
  Decoder(napi_env env, Str bytes) : env_(env), p_(bytes.data()), end_(p_ + bytes.size()) {}

  bool at_end() const { return p_ == end_; }
  // Null: not understood.
  napi_value value(int depth) {
    uint32_t t = 0;
    napi_value v = nullptr;
    if (!count(&t)) return nullptr;
    if (t >= kStr) {
      size_t n = t - kStr;
      if (left() < n) return nullptr;
      p_ += n;
      return text_value(env_, p_ - n, n);
    }
    if (t >= kTab && t < kTab + 6) return depth >= kDeepest ? nullptr : table(t - kTab, depth + 1);
    switch (t) {
      case kNil:
        return js_undefined(env_);
      case kNull:
        napi_get_null(env_, &v);
        return v;
      case kFalse:
      case kTrue:
        return js_boolean(env_, t == kTrue);
      case kInt: {
        int32_t i = 0;
        return read(&i) ? js_number(env_, i) : nullptr;
      }
      case kNum: {
        double n = 0;
        return read(&n) ? js_number(env_, n) : nullptr;
      }
      case kInt64: {
        int64_t i = 0;
        if (read(&i)) napi_create_bigint_int64(env_, i, &v);
        return v;
      }
      case kUint64: {
        uint64_t u = 0;
        if (read(&u)) napi_create_bigint_uint64(env_, u, &v);
        return v;
      }
      default:
        return nullptr;
    }
  }

 private:
  size_t left() const { return static_cast<size_t>(end_ - p_); }
  template <class T>
  bool read(T* to) {
    if (left() < sizeof *to) return false;
    std::memcpy(to, p_, sizeof *to);
    p_ += sizeof *to;
    return true;
  }
  bool count(uint32_t* n) {
    uint8_t b = 0, low = 0;
    if (!read(&b)) return false;
    if (b == 0xff) return read(n);
    *n = b;
    if (b < 0xe0) return true;
    if (!read(&low)) return false;
    *n = (uint32_t{b & 0x1fu} << 8 | low) + 0xe0;
    return true;
  }
  napi_value table(uint32_t kind, int depth) {
    uint32_t slots = 0, hashed = 0;
    if (kind >= 2 && !count(&slots)) return nullptr;
    if ((kind & 1) != 0 && !count(&hashed)) return nullptr;
    // Each item takes a byte at least.
    if (slots > left() + 1 || hashed > left()) return nullptr;
    uint32_t first = kind >= 4 ? 1 : 0;
    bool list = first == 1 && hashed == 0;
    napi_value to = nullptr;
    if (list) {
      napi_create_array_with_length(env_, slots - 1, &to);
    } else {
      napi_create_object(env_, &to);
    }
    for (uint32_t i = first; i < slots; ++i) {
      napi_value item = value(depth);
      if (!item) return nullptr;
      if (list) {
        napi_set_element(env_, to, i - 1, item);
      } else if (js_type(env_, item) != napi_undefined) {
        napi_set_property(env_, to, js_string(env_, std::to_string(i)), item);
      }
    }
    for (uint32_t i = 0; i < hashed; ++i) {
      napi_value key = value(depth);
      napi_value item = key ? value(depth) : nullptr;
      if (!item) return nullptr;
      napi_value name = nullptr;
      if (napi_coerce_to_string(env_, key, &name) != napi_ok) return nullptr;
      napi_set_property(env_, to, name, item);
    }
    return to;
  }

  napi_env env_;
  const char *p_, *end_;
};

}  // namespace

napi_value text_value(napi_env env, const char* data, size_t n) {
  napi_value v = nullptr;
  if (is_ascii(data, n)) {
    napi_create_string_latin1(env, data, n, &v);
  } else if (is_utf8(data, n)) {
    napi_create_string_utf8(env, data, n, &v);
  } else {
    napi_create_buffer_copy(env, n, data, nullptr, &v);
  }
  return v;
}

const char* encode_value(napi_env env, napi_value value, std::string* out) {
  return Encoder(env, out).value(value, 0);
}

napi_value decode_value(napi_env env, Str bytes) {
  Decoder decoder(env, bytes);
  napi_value v = decoder.value(0);
  return v && decoder.at_end() ? v : nullptr;
}

}  // namespace moonphase::bind
