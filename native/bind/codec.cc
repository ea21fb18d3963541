#include "bind/codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <vector>

#include "bind/encoded.h"
#include "bind/napi_util.h"
#include "bind/utf8.h"

namespace moonphase::bind {

namespace {

// As lib/codec.ts has them. A member of an object that JavaScript writes has its key above the tag;
// Lua's tables come with the number of their shape (their keys in order), then the values.
enum Tag : int32_t { kNil, kFalse, kTrue, kNull, kNum, kShort, kLong, kArray, kObject, kShaped };
constexpr int kTagBits = 4;
constexpr int kMostKeys = 4096;     // names that are numbered, for good
constexpr size_t kLongestKey = 64;  // bytes
constexpr int kMostShapes = 2048;
constexpr size_t kWidest = 64;  // members of a shape
constexpr int kDeepest = 100;
// Text up to here comes to JavaScript as part of one string: such parts are copied by V8, longer
// ones would keep the whole alive.
constexpr size_t kShortText = 12;

char t_vm_key;  // its address: where a VM's registry has what follows

// What a VM knows of the names: a table with them as strings by number (so that they stay), and
// their numbers by the address of the string.
struct VmNames {
  int table_ref = LUA_NOREF;
  int filled = 0;
  std::unordered_map<const char*, int> numbers;
};

class Codec {
 public:
  explicit Codec(napi_env env) : env_(env) {}
  bool push(lua_State* L, napi_value object);
  napi_value read(lua_State* L, int index);
  int key_number(Str name);
  napi_value shape_keys(uint32_t id);
  void take(napi_value memory);
  static Codec*& of_thread() {
    static thread_local Codec* codec = nullptr;
    return codec;
  }

 private:
  static VmNames* names_of(lua_State* L);
  void push_key(lua_State* L, int table, VmNames* names, int key);
  bool push_value(lua_State* L, int32_t tag);
  int32_t next() { return at_ < count_ ? ops_[at_++] : kNil; }
  bool write(lua_State* L, int index, int depth);
  // The stack as it was, with the table of names on it; -1: there is no room.
  int start(lua_State* L);
  bool write_table(lua_State* L, int index, int depth);
  bool write_text(const char* s, size_t n);
  int shape_of(size_t first);
  napi_value get(napi_ref ref) const {
    napi_value v = nullptr;
    napi_get_reference_value(env_, ref, &v);
    return v;
  }

  napi_env env_;
  napi_ref encode_ = nullptr, decode_ = nullptr, longs_ = nullptr;
  // The arrays that both sides have; their memory does not move.
  int32_t* ops_ = nullptr;
  double* nums_ = nullptr;
  uint8_t* bytes_ = nullptr;
  size_t most_ops_ = 0, most_nums_ = 0, most_bytes_ = 0;
  size_t at_ = 0, count_ = 0, num_ = 0, byte_ = 0;
  uint32_t long_ = 0;
  bool large_ = false;  // text that JavaScript's side should not keep
  // While a stream is read or written.
  VmNames* names_ = nullptr;
  int table_ = 0;

  std::unordered_map<std::string, int> keys_;
  std::vector<std::string> key_names_;
  std::vector<int> path_keys_;  // of the tables that are being written
  std::unordered_map<std::string, int> shape_ids_;
  std::vector<std::vector<int>> shapes_;
};

int free_names(lua_State* L) {
  static_cast<VmNames*>(lua_touserdata(L, 1))->~VmNames();
  return 0;
}

VmNames* Codec::names_of(lua_State* L) {
  lua_pushlightuserdata(L, &t_vm_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  auto* names = static_cast<VmNames*>(lua_touserdata(L, -1));
  lua_pop(L, 1);
  if (names) return names;
  lua_pushlightuserdata(L, &t_vm_key);
  names = new (lua_newuserdata(L, sizeof(VmNames))) VmNames;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, free_names);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
  lua_newtable(L);
  names->table_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return names;
}

int Codec::key_number(Str name) {
  if (name.size() > kLongestKey || name == "__proto__") return -1;
  auto it = keys_.find(std::string(name));
  if (it != keys_.end()) return it->second;
  if (key_names_.size() >= kMostKeys) return -1;
  const int id = static_cast<int>(key_names_.size());
  key_names_.emplace_back(name);
  keys_.emplace(name, id);
  return id;
}

// The VM may have seen fewer names than we know.
void Codec::push_key(lua_State* L, int table, VmNames* names, int key) {
  while (names->filled <= key) {
    const std::string& name = key_names_[static_cast<size_t>(names->filled)];
    lua_pushlstring(L, name.data(), name.size());
    names->numbers.emplace(lua_tostring(L, -1), names->filled);
    lua_rawseti(L, table, ++names->filled);
  }
  lua_rawgeti(L, table, key + 1);
}

// --- from JavaScript ---

int Codec::start(lua_State* L) {
  if (!lua_checkstack(L, 8)) return -1;
  const int top = lua_gettop(L);
  names_ = names_of(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, names_->table_ref);
  table_ = top + 1;
  at_ = num_ = byte_ = 0;
  long_ = 0;
  return top;
}

bool Codec::push_value(lua_State* L, int32_t tag) {
  switch (tag) {
    case kNil:
      lua_pushnil(L);
      return true;
    case kFalse:
    case kTrue:
      lua_pushboolean(L, tag == kTrue);
      return true;
    case kNull:
      lua_pushlightuserdata(L, nullptr);
      return true;
    case kNum:
      if (num_ >= most_nums_) return false;
      lua_pushnumber(L, nums_[num_++]);
      return true;
    case kShort: {
      const auto n = static_cast<size_t>(next());
      if (n > most_bytes_ - byte_) return false;
      lua_pushlstring(L, reinterpret_cast<const char*>(bytes_ + byte_), n);
      byte_ += n;
      return true;
    }
    case kLong: {
      napi_value v = nullptr;
      if (napi_get_element(env_, get(longs_), long_++, &v) != napi_ok) return false;
      char some[2048];
      size_t n = 0;
      if (napi_get_value_string_utf8(env_, v, some, sizeof some, &n) != napi_ok) return false;
      if (n + 4 < sizeof some) {  // a cut copy ends short of the buffer by less than one character
        lua_pushlstring(L, some, n);
        return true;
      }
      const std::string text = text_of(env_, v);
      lua_pushlstring(L, text.data(), text.size());
      large_ = true;
      return true;
    }
    case kArray: {
      const int n = next();
      if (!lua_checkstack(L, 6)) return false;
      lua_createtable(L, n, 0);
      for (int i = 1; i <= n; ++i) {
        if (!push_value(L, next())) return false;
        lua_rawseti(L, -2, i);
      }
      return true;
    }
    case kObject: {
      const int n = next();
      if (!lua_checkstack(L, 6)) return false;
      lua_createtable(L, 0, n);
      for (int i = 0; i < n; ++i) {
        const int32_t word = next();
        const int key = word >> kTagBits;
        if (static_cast<size_t>(key) >= key_names_.size()) return false;
        push_key(L, table_, names_, key);
        if (!push_value(L, word & ((1 << kTagBits) - 1))) return false;
        lua_rawset(L, -3);
      }
      return true;
    }
    default:
      return false;
  }
}

bool Codec::push(lua_State* L, napi_value object) {
  napi_value result = nullptr, none = nullptr;
  napi_get_undefined(env_, &none);
  if (napi_call_function(env_, none, get(encode_), 1, &object, &result) != napi_ok) {
    // A getter has thrown: the walker will meet it again, and say so.
    napi_get_and_clear_last_exception(env_, &result);
    return false;
  }
  int32_t count = 0;
  if (napi_get_value_int32(env_, result, &count) != napi_ok || count <= 0) return false;
  const int top = start(L);
  if (top < 0) return false;
  count_ = static_cast<size_t>(count);
  const bool ok = push_value(L, next());
  if (large_) js_set(env_, get(longs_), "length", js_number(env_, 0));
  large_ = false;
  if (!ok) {
    lua_settop(L, top);
    return false;
  }
  lua_remove(L, table_);
  return true;
}

// --- from Lua ---

bool Codec::write_text(const char* s, size_t n) {
  if (n <= kShortText && n <= most_bytes_ - byte_ && is_ascii(s, n)) {
    std::memcpy(bytes_ + byte_, s, n);
    byte_ += n;
    ops_[at_++] = kShort;
    ops_[at_++] = static_cast<int32_t>(n);
    return true;
  }
  napi_value text = text_value(env_, s, n);
  if (!text || napi_set_element(env_, get(longs_), long_++, text) != napi_ok) return false;
  ops_[at_++] = kLong;
  return true;
}

bool Codec::write(lua_State* L, int index, int depth) {
  if (at_ + 4 > most_ops_) return false;
  switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
      ops_[at_++] = lua_toboolean(L, index) ? kTrue : kFalse;
      return true;
    case LUA_TNUMBER:
      if (num_ >= most_nums_) return false;
      ops_[at_++] = kNum;
      nums_[num_++] = lua_tonumber(L, index);
      return true;
    case LUA_TSTRING: {
      size_t n = 0;
      const char* s = lua_tolstring(L, index, &n);
      return write_text(s, n);
    }
    case LUA_TLIGHTUSERDATA:
      ops_[at_++] = kNull;
      return lua_touserdata(L, index) == nullptr;
    case LUA_TTABLE:
      return write_table(L, index, depth + 1);
    default:
      return false;
  }
}

bool Codec::write_table(lua_State* L, int index, int depth) {
  if (depth > kDeepest || !lua_checkstack(L, 6)) return false;
  if (lua_getmetatable(L, index)) {
    lua_pop(L, 1);
    return false;
  }
  if (const size_t n = lua_objlen(L, index); n > 0) {
    if (n > most_ops_) return false;
    ops_[at_++] = kArray;
    ops_[at_++] = static_cast<int32_t>(n);
    size_t seen = 0;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
      ++seen;  // in order, as its array part has them; anything else is not for us
      if (lua_type(L, -2) != LUA_TNUMBER || lua_tonumber(L, -2) != static_cast<lua_Number>(seen) ||
          !write(L, lua_gettop(L), depth)) {
        lua_pop(L, 2);
        return false;
      }
    }
    return seen == n;
  }
  const size_t header = at_;
  at_ += 2;
  const size_t first = path_keys_.size();
  for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
    bool ok = lua_type(L, -2) == LUA_TSTRING && path_keys_.size() - first < kWidest;
    if (ok) {
      size_t n = 0;
      const char* s = lua_tolstring(L, -2, &n);
      auto it = names_->numbers.find(s);
      int key = it != names_->numbers.end() ? it->second : -1;
      if (key < 0 && is_ascii(s, n) && (key = key_number({s, n})) >= 0) {
        push_key(L, table_, names_, key);
        lua_pop(L, 1);
      }
      ok = key >= 0;
      path_keys_.push_back(key);
    }
    if (!ok || !write(L, lua_gettop(L), depth)) {
      lua_pop(L, 2);
      return false;
    }
  }
  const int shape = shape_of(first);
  path_keys_.resize(first);
  ops_[header] = kShaped;
  ops_[header + 1] = shape;
  return shape >= 0;
}

int Codec::shape_of(size_t first) {
  const size_t n = path_keys_.size() - first;
  const std::string_view bytes(reinterpret_cast<const char*>(path_keys_.data() + first),
                               n * sizeof(int));
  const auto it = shape_ids_.find(std::string(bytes));
  if (it != shape_ids_.end()) return it->second;
  if (shapes_.size() >= kMostShapes) return -1;
  const int id = static_cast<int>(shapes_.size());
  shapes_.emplace_back(path_keys_.begin() + static_cast<std::ptrdiff_t>(first), path_keys_.end());
  shape_ids_.emplace(bytes, id);
  return id;
}

napi_value Codec::read(lua_State* L, int index) {
  const int top = start(L);
  if (top < 0) return nullptr;
  path_keys_.clear();
  const bool ok = write_table(L, index, 0);
  lua_settop(L, top);
  napi_value value = nullptr, text = nullptr, none = nullptr;
  if (!ok) {
    if (long_ > 0) js_set(env_, get(longs_), "length", js_number(env_, 0));
    return nullptr;
  }
  napi_get_undefined(env_, &none);
  if (byte_ == 0)
    text = none;
  else
    napi_create_string_latin1(env_, reinterpret_cast<const char*>(bytes_), byte_, &text);
  if (napi_call_function(env_, none, get(decode_), 1, &text, &value) != napi_ok) return nullptr;
  return value;
}

napi_value Codec::shape_keys(uint32_t id) {
  napi_value list = nullptr;
  napi_create_array(env_, &list);
  if (id >= shapes_.size()) return list;
  uint32_t i = 0;
  for (int key : shapes_[id])
    napi_set_element(env_, list, i++, js_string(env_, key_names_[static_cast<size_t>(key)]));
  return list;
}

void Codec::take(napi_value memory) {
  auto keep = [&](const char* name, napi_ref* ref) {
    napi_create_reference(env_, js_get(env_, memory, name), 1, ref);
  };
  auto array = [&](const char* name, auto** data, size_t* most) {
    void* p = nullptr;
    napi_get_typedarray_info(env_, js_get(env_, memory, name), nullptr, most, &p, nullptr, nullptr);
    *data = static_cast<std::remove_reference_t<decltype(*data)>>(p);
  };
  keep("encode", &encode_);
  keep("decode", &decode_);
  keep("longs", &longs_);
  array("ops", &ops_, &most_ops_);
  array("nums", &nums_, &most_nums_);
  array("bytes", &bytes_, &most_bytes_);
}

// codec(memory): lib/codec.ts
napi_value start(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  if (Codec::of_thread()) return nullptr;
  auto* codec = new Codec(env);
  codec->take(args[0]);
  Codec::of_thread() = codec;
  napi_add_env_cleanup_hook(
      env,
      [](void*) {
        delete Codec::of_thread();
        Codec::of_thread() = nullptr;
      },
      nullptr);
  return nullptr;
}

// codecKey(name): its number; -1: it gets none.
napi_value key_number(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  Codec* codec = Codec::of_thread();
  const std::string name = text_of(env, args[0]);
  return js_number(env, codec && is_ascii(name.data(), name.size()) ? codec->key_number(name) : -1);
}

// codecShape(number): its keys
napi_value shape_keys(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  uint32_t id = 0;
  napi_get_value_uint32(env, args[0], &id);
  Codec* codec = Codec::of_thread();
  return codec ? codec->shape_keys(id) : nullptr;
}

}  // namespace

bool codec_push(VmHost*, lua_State* L, napi_value object) {
  Codec* codec = Codec::of_thread();
  return codec && codec->push(L, object);
}

napi_value codec_read(VmHost* host, lua_State* L, int index) {
  Codec* codec = host->strings == Strings::kAuto ? Codec::of_thread() : nullptr;
  return codec ? codec->read(L, index) : nullptr;
}

void define_codec(napi_env env, napi_value exports) {
  add_function(env, exports, "codec", start);
  add_function(env, exports, "codecKey", key_number);
  add_function(env, exports, "codecShape", shape_keys);
}

}  // namespace moonphase::bind
