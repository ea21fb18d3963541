// Typed access to the Plan while it is read: JavaScript has checked what it means, here only types
// are, and a wrong one is an error that names its path.
#pragma once

#include <node_api.h>

#include <string>
#include <utility>
#include <vector>

#include "bind/napi_util.h"
#include "http/conf.h"

namespace moonphase::bind {

// What is wrong with the Plan. Thrown and caught inside the reader, where no Lua frames are.
struct PlanError {
  std::string message;
};

// One value of the Plan. Names must outlive it.
class PlanValue {
 public:
  PlanValue(napi_env env, napi_value v) : env_(env), v_(v) {}

  PlanValue get(const char* name) const {
    if (js_type(env_, v_) != napi_object) fail("an object");
    return PlanValue(env_, js_get(env_, v_, name), this, name, 0);
  }
  // An optional field.
  bool has(const char* name) const {
    napi_valuetype t = js_type(env_, js_get(env_, v_, name));
    return t != napi_undefined && t != napi_null;
  }

  bool is_string() const { return js_type(env_, v_) == napi_string; }
  std::string bytes() const {
    if (!is_string()) fail("a string");
    return bytes_of(env_, v_);
  }
  bool boolean() const {
    bool b = false;
    if (napi_get_value_bool(env_, v_, &b) != napi_ok) fail("a boolean");
    return b;
  }
  int64_t integer() const {
    int64_t n = 0;
    if (napi_get_value_int64(env_, v_, &n) != napi_ok) fail("a number");
    return n;
  }
  // One of the words of an enumeration.
  template <class E, size_t N>
  E word(const std::pair<const char*, E> (&words)[N]) const {
    std::string text = bytes();
    for (const auto& [name, value] : words)
      if (text == name) return value;
    fail("a known word");
  }

  // Calls fn(PlanValue) for each element of an array.
  template <class Fn>
  void each(Fn&& fn) const {
    uint32_t n = 0;
    if (napi_get_array_length(env_, v_, &n) != napi_ok) fail("an array");
    for (uint32_t i = 0; i < n; ++i) {
      Handles handles(env_);
      fn(at(i));
    }
  }
  PlanValue at(uint32_t i) const {
    napi_value v = nullptr;
    if (napi_get_element(env_, v_, i, &v) != napi_ok) fail("an array");
    return PlanValue(env_, v, this, nullptr, i);
  }
  // Calls fn(key, PlanValue) for each own property.
  template <class Fn>
  void each_key(Fn&& fn) const {
    napi_value names = nullptr;
    if (js_type(env_, v_) != napi_object || napi_get_property_names(env_, v_, &names) != napi_ok)
      fail("an object");
    PlanValue(env_, names, this, "keys", 0).each([&](const PlanValue& key) {
      napi_value v = nullptr;
      napi_get_property(env_, v_, key.v_, &v);
      fn(key.bytes(), PlanValue(env_, v, this, "values", 0));
    });
  }

  [[noreturn]] void fail(const char* expected) const {
    throw PlanError{"the plan's " + path() + " is not " + expected};
  }

 private:
  PlanValue(napi_env env, napi_value v, const PlanValue* parent, const char* name, uint32_t index)
      : env_(env), v_(v), parent_(parent), name_(name), index_(index) {}

  struct Handles {
    explicit Handles(napi_env e) : env(e) { napi_open_handle_scope(env, &scope); }
    ~Handles() { napi_close_handle_scope(env, scope); }
    Handles(const Handles&) = delete;
    napi_env env;
    napi_handle_scope scope = nullptr;
  };

  std::string path() const {
    if (!parent_) return "root";
    std::string outer = parent_->parent_ ? parent_->path() : "";
    if (!name_) return outer + "[" + std::to_string(index_) + "]";
    return outer.empty() ? name_ : outer + "." + name_;
  }

  napi_env env_;
  napi_value v_;
  const PlanValue* parent_ = nullptr;
  const char* name_ = nullptr;  // null: the element `index_` of an array
  uint32_t index_ = 0;
};

inline void read(const PlanValue& from, bool& to) { to = from.boolean(); }
inline void read(const PlanValue& from, int& to) { to = static_cast<int>(from.integer()); }
inline void read(const PlanValue& from, int64_t& to) { to = from.integer(); }
inline void read(const PlanValue& from, size_t& to) { to = static_cast<size_t>(from.integer()); }
inline void read(const PlanValue& from, std::string& to) { to = from.bytes(); }
void read(const PlanValue& from, http::Complex& to);
template <class T>
void read(const PlanValue& from, std::vector<T>& to) {
  from.each([&](const PlanValue& v) { read(v, to.emplace_back()); });
}

// The field of the same name: READ(conf, v, send_timeout).
#define PLAN_READ(object, from, field) read((from).get(#field), (object).field)
// The same for an optional one, which keeps its default.
#define PLAN_READ_OPTIONAL(object, from, field)             \
  do {                                                      \
    if ((from).has(#field)) PLAN_READ(object, from, field); \
  } while (false)

}  // namespace moonphase::bind
