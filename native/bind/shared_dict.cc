#include "bind/shared_dict.h"

#include <memory>
#include <vector>

#include "bind/js_error.h"
#include "bind/napi_util.h"
#include "bind/utf8.h"
#include "shm/zone.h"

namespace moonphase::bind {

namespace {

void release(napi_env, void* data, void*) {
  if (data) shm::zone_registry_release(static_cast<shm::Zone*>(data));
}

napi_value construct(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  shm::ZoneSpec spec;
  spec.name = bytes_of(env, js_get(env, args[0], "name"));
  spec.size = static_cast<uint64_t>(number_option(env, args[0], "size", 0));
  spec.exact = bool_option(env, args[0], "exact", false);
  spec.fd = static_cast<int>(number_option(env, args[0], "fd", -1));
  std::string error;
  shm::Zone* zone = shm::zone_registry_open(spec, &error);
  if (!zone) {
    throw_error(env, "ERR_MOONPHASE_START", error);
    return nullptr;
  }
  napi_wrap(env, args.self, zone, release, nullptr, nullptr);
  return args.self;
}

// What a method was called with. `dict` null: an exception is pending.
template <size_t N>
struct Call : Args<N> {
  Call(napi_env env, napi_callback_info info) : Args<N>(env, info) {
    void* data = nullptr;
    if (napi_unwrap(env, this->self, &data) != napi_ok || !data) {
      throw_error(env, "ERR_MOONPHASE_OPTION", "not a shared dictionary");
      return;
    }
    if (N > 0 && !text(this->v[0], &key, &key_bytes)) {
      throw_error(env, "ERR_MOONPHASE_OPTION", "the key is a string or a Buffer");
      return;
    }
    if (N > 0 && key.empty()) {
      throw_error(this->env, "ERR_MOONPHASE_SHARED", "empty key");
      return;
    }
    if (N > 0 && key.size() > shm::kMaxKey) {
      throw_error(this->env, "ERR_MOONPHASE_SHARED", "key too long");
      return;
    }
    dict = &static_cast<shm::Zone*>(data)->dict;
  }
  bool text(napi_value value, Str* out, std::string* keep) {
    void* data = nullptr;
    size_t n = 0;
    bool is = false;
    if (js_type(this->env, value) == napi_string) {
      *keep = text_of(this->env, value);
      *out = *keep;
      return true;
    }
    if (napi_is_buffer(this->env, value, &is) != napi_ok || !is) return false;
    napi_get_buffer_info(this->env, value, &data, &n);
    *out = Str(static_cast<const char*>(data), n);
    return true;
  }
  // Seconds, as in Lua; nothing and 0: for ever. False: an exception is pending.
  bool ttl(size_t i, int64_t* ms) {
    double seconds = 0;
    napi_valuetype type = i < this->count ? js_type(this->env, this->v[i]) : napi_undefined;
    if (type == napi_number) napi_get_value_double(this->env, this->v[i], &seconds);
    *ms = 0;
    if ((type == napi_number || type == napi_undefined) && seconds >= 0 && seconds < 9e15) {
      *ms = static_cast<int64_t>(seconds * 1000);
      return true;
    }
    throw_error(this->env, "ERR_MOONPHASE_OPTION", "bad \"exptime\" argument");
    return false;
  }
  shm::Dict* dict = nullptr;
  Str key;
  std::string key_bytes;
};

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

napi_value fail(napi_env env, const char* error) {
  throw_error(env, "ERR_MOONPHASE_SHARED", error ? error : "failed");
  return nullptr;
}

// get(key): what was stored; undefined: nothing.
napi_value get(napi_env env, napi_callback_info info) {
  Call<1> call(env, info);
  if (!call.dict) return nullptr;
  char small[1024];
  std::unique_ptr<char[]> large;
  auto grow = [](void* owner, size_t n) {
    auto* place = static_cast<std::unique_ptr<char[]>*>(owner);
    place->reset(new char[n]);
    return place->get();
  };
  shm::Sink sink{small, sizeof small, grow, &large};
  shm::GetResult result = call.dict->get(call.key, shm::now_ms(), sink);
  if (result.rc != kOk) return fail(env, result.error);
  switch (result.type) {
    case shm::Type::kBoolean:
      return js_boolean(env, result.number != 0);
    case shm::Type::kNumber:
      return js_number(env, result.number);
    case shm::Type::kString:
      return text_value(env, result.data, result.size);
    default:
      return js_undefined(env);
  }
}

// store(mode, …): true, or false when the mode's condition does not hold.
napi_value store(napi_env env, napi_callback_info info, int mode) {
  Call<3> call(env, info);
  if (!call.dict) return nullptr;
  shm::Value value;
  std::string keep;
  bool flag = false;
  switch (js_type(env, call[1])) {
    case napi_undefined:
    case napi_null:
      break;
    case napi_boolean:
      value.type = shm::Type::kBoolean;
      napi_get_value_bool(env, call[1], &flag);
      value.number = flag ? 1 : 0;
      break;
    case napi_number:
      value.type = shm::Type::kNumber;
      napi_get_value_double(env, call[1], &value.number);
      break;
    default:
      value.type = shm::Type::kString;
      if (!call.text(call[1], &value.bytes, &keep)) {
        throw_error(env, "ERR_MOONPHASE_OPTION",
                    "the value is a string, Buffer, number or boolean");
        return nullptr;
      }
  }
  int64_t ttl = 0;
  if (!call.ttl(2, &ttl)) return nullptr;
  if (mode != shm::kSet && value.type == shm::Type::kNil)
    return fail(env, "attempt to add or replace nil values");
  shm::StoreResult result = call.dict->store(mode, call.key, value, ttl, 0, shm::now_ms());
  if (result.rc == kOk) return js_boolean(env, true);
  if (result.rc == kDeclined) return js_boolean(env, false);
  return fail(env, result.error);
}

napi_value set(napi_env env, napi_callback_info info) { return store(env, info, shm::kSet); }
napi_value add(napi_env env, napi_callback_info info) { return store(env, info, shm::kAdd); }
napi_value replace(napi_env env, napi_callback_info info) {
  return store(env, info, shm::kReplace);
}

// delete(key).
napi_value remove(napi_env env, napi_callback_info info) {
  Call<1> call(env, info);
  if (call.dict) call.dict->store(shm::kSet, call.key, {}, 0, 0, shm::now_ms());
  return nullptr;
}

// incr(key, by, init?, initTtl?): the new value; undefined: there is no such entry and no `init`.
napi_value incr(napi_env env, napi_callback_info info) {
  Call<4> call(env, info);
  if (!call.dict) return nullptr;
  double by = 0, init = 0;
  if (napi_get_value_double(env, call[1], &by) != napi_ok) {
    throw_error(env, "ERR_MOONPHASE_OPTION", "the increment is a number");
    return nullptr;
  }
  bool has_init = call.count > 2 && napi_get_value_double(env, call[2], &init) == napi_ok;
  int64_t ttl = 0;
  if (!call.ttl(3, &ttl)) return nullptr;
  shm::IncrResult result = call.dict->incr(call.key, by, has_init, init, ttl, shm::now_ms());
  if (result.rc == kOk) return js_number(env, result.number);
  return result.error && Str(result.error) == "not found" ? js_undefined(env)
                                                          : fail(env, result.error);
}

// ttl(key): seconds; 0 for ever; undefined: no such entry.
napi_value ttl(napi_env env, napi_callback_info info) {
  Call<1> call(env, info);
  int64_t ms = 0;
  if (!call.dict || call.dict->ttl(call.key, shm::now_ms(), &ms) != kOk) return nullptr;
  return js_number(env, static_cast<double>(ms) / 1000);
}

// expire(key, ttl): whether there is such an entry.
napi_value expire(napi_env env, napi_callback_info info) {
  Call<2> call(env, info);
  if (!call.dict) return nullptr;
  int64_t ttl = 0;
  if (!call.ttl(1, &ttl)) return nullptr;
  return js_boolean(env, call.dict->set_expire(call.key, ttl, shm::now_ms()) == kOk);
}

napi_value flush_all(napi_env env, napi_callback_info info) {
  Call<0> call(env, info);
  if (call.dict) call.dict->flush_all(shm::now_ms());
  return nullptr;
}

// flushExpired(max?): how many entries went.
napi_value flush_expired(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  Call<0> call(env, info);
  uint32_t max = 0;
  if (args.count > 0) napi_get_value_uint32(env, args[0], &max);
  return call.dict ? js_number(env, call.dict->flush_expired(max, shm::now_ms())) : nullptr;
}

// keys(max): 0 means all.
napi_value keys(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  Call<0> call(env, info);
  if (!call.dict) return nullptr;
  uint32_t max = 1024;
  if (args.count > 0) napi_get_value_uint32(env, args[0], &max);
  std::vector<std::string> found;  // the dictionary is locked while it tells them
  call.dict->keys(
      max, shm::now_ms(),
      [](void* owner, Str key) {
        static_cast<std::vector<std::string>*>(owner)->emplace_back(key);
      },
      &found);
  napi_value list = nullptr;
  napi_create_array_with_length(env, found.size(), &list);
  for (uint32_t i = 0; i < found.size(); ++i) {
    napi_set_element(env, list, i, text_value(env, found[i].data(), found[i].size()));
  }
  return list;
}

napi_value capacity(napi_env env, napi_callback_info info) {
  Call<0> call(env, info);
  return call.dict ? js_number(env, static_cast<double>(call.dict->capacity())) : nullptr;
}

napi_value free_space(napi_env env, napi_callback_info info) {
  Call<0> call(env, info);
  return call.dict ? js_number(env, static_cast<double>(call.dict->free_space())) : nullptr;
}

}  // namespace

void define_shared_dict(napi_env env, napi_value exports) {
  const napi_property_descriptor methods[] = {
      method("get", get),
      method("set", set),
      method("add", add),
      method("replace", replace),
      method("delete", remove),
      method("incr", incr),
      method("ttl", ttl),
      method("expire", expire),
      method("flushAll", flush_all),
      method("flushExpired", flush_expired),
      method("keys", keys),
      {"capacity", nullptr, nullptr, capacity, nullptr, nullptr, napi_enumerable, nullptr},
      {"freeSpace", nullptr, nullptr, free_space, nullptr, nullptr, napi_enumerable, nullptr},
  };
  napi_value constructor = nullptr;
  napi_define_class(env, "SharedDict", NAPI_AUTO_LENGTH, construct, nullptr,
                    sizeof methods / sizeof *methods, methods, &constructor);
  js_set(env, exports, "SharedDict", constructor);
}

}  // namespace moonphase::bind
