#include "bind/shared_dict.h"

#include <memory>
#include <vector>

#include "bind/encoded.h"
#include "bind/js_error.h"
#include "bind/napi_util.h"
#include "bind/shared_watch.h"
#include "shm/zone.h"

namespace moonphase::bind {

namespace {

// What stands behind an object.
struct Handle {
  shm::Zone* zone = nullptr;
  bool any = false;  // takes arrays and objects too: `values=any`
};

void release(napi_env, void* data, void*) {
  auto* handle = static_cast<Handle*>(data);
  shm::zone_registry_release(handle->zone);
  delete handle;
}

napi_value construct(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  shm::ZoneSpec spec;
  spec.name = bytes_of(env, js_get(env, args[0], "name"));
  spec.size = static_cast<uint64_t>(number_option(env, args[0], "size", 0));
  spec.exact = bool_option(env, args[0], "exact", false);
  spec.fd = static_cast<int>(number_option(env, args[0], "fd", -1));
  if (std::string space = text_option(env, args[0], "space"); !space.empty())
    spec.shm = shm::zone_shm(space, spec.name);
  std::string error;
  shm::Zone* zone = shm::zone_registry_open(spec, &error);
  if (!zone) {
    throw_error(env, "ERR_MOONPHASE_START", error);
    return nullptr;
  }
  auto* handle = new Handle{zone, bool_option(env, args[0], "any", false)};
  if (napi_wrap(env, args.self, handle, release, nullptr, nullptr) != napi_ok)
    release(env, handle, nullptr);
  return args.self;
}

// Seconds, as in Lua; nothing and 0: for ever. False: an exception is pending.
bool read_ttl(napi_env env, napi_value v, int64_t* ms) {
  double seconds = 0;
  napi_valuetype type = js_type(env, v);
  if (type == napi_number) napi_get_value_double(env, v, &seconds);
  *ms = 0;
  if ((type == napi_number || type == napi_undefined) && seconds >= 0 && seconds < 9e15) {
    *ms = static_cast<int64_t>(seconds * 1000);
    return true;
  }
  throw_error(env, "ERR_MOONPHASE_OPTION", "bad \"exptime\" argument");
  return false;
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
    handle = static_cast<Handle*>(data);
    if (N > 0 && !read_key(this->v[0], &key, &key_bytes)) return;
    dict = &handle->zone->dict;
  }
  // False: an exception is pending.
  bool read_key(napi_value value, Str* to, std::string* keep) {
    if (!text(value, to, keep)) {
      throw_error(this->env, "ERR_MOONPHASE_OPTION", "the key is a string or a Buffer");
    } else if (to->empty()) {
      throw_error(this->env, "ERR_MOONPHASE_SHARED", "empty key");
    } else if (to->size() > shm::kMaxKey) {
      throw_error(this->env, "ERR_MOONPHASE_SHARED", "key too long");
    } else {
      return true;
    }
    return false;
  }
  // False: an exception is pending.
  bool read_value(napi_value from, shm::Value* to, std::string* keep) {
    bool flag = false;
    switch (js_type(this->env, from)) {
      case napi_undefined:
      case napi_null:
        return true;
      case napi_boolean:
        to->type = shm::Type::kBoolean;
        napi_get_value_bool(this->env, from, &flag);
        to->number = flag ? 1 : 0;
        return true;
      case napi_number:
        to->type = shm::Type::kNumber;
        napi_get_value_double(this->env, from, &to->number);
        return true;
      default:
        to->type = shm::Type::kString;
        if (text(from, &to->bytes, keep)) return true;
    }
    const char* error = "the value is a string, Buffer, number or boolean";
    if (handle->any) error = encode_value(this->env, from, keep);
    to->type = shm::Type::kEncoded;
    to->bytes = *keep;
    if (error) throw_error(this->env, "ERR_MOONPHASE_OPTION", error);
    return !error;
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
  bool ttl(size_t i, int64_t* ms) {
    return read_ttl(this->env, i < this->count ? this->v[i] : nullptr, ms);
  }
  Handle* handle = nullptr;
  shm::Dict* dict = nullptr;
  Str key;
  std::string key_bytes;
};

napi_value fail(napi_env env, const char* error) {
  throw_error(env, "ERR_MOONPHASE_SHARED", error ? error : "failed");
  return nullptr;
}

// undefined: nothing is stored.
napi_value stored_value(napi_env env, const shm::GetResult& result) {
  switch (result.type) {
    case shm::Type::kBoolean:
      return js_boolean(env, result.number != 0);
    case shm::Type::kNumber:
      return js_number(env, result.number);
    case shm::Type::kString:
      return text_value(env, result.data, result.size);
    case shm::Type::kEncoded:
      if (napi_value v = decode_value(env, {result.data, result.size})) return v;
      return fail(env, "the value is of a kind that JavaScript has not");
    default:
      return js_undefined(env);
  }
}

// Where strings are copied while the dictionary is locked.
class Copies {
 public:
  shm::Sink sink() {
    return {nullptr, 0,
            [](void* self, size_t n) {
              auto& pieces = static_cast<Copies*>(self)->pieces_;
              pieces.emplace_back(new char[n > 0 ? n : 1]);
              return pieces.back().get();
            },
            this};
  }

 private:
  std::vector<std::unique_ptr<char[]>> pieces_;
};

// get(key): what was stored; undefined: nothing.
napi_value get(napi_env env, napi_callback_info info) {
  Call<1> call(env, info);
  if (!call.dict) return nullptr;
  char small[1024];
  Copies large;
  shm::Sink sink = large.sink();
  sink.data = small;
  sink.capacity = sizeof small;
  shm::GetResult result = call.dict->get(call.key, shm::now_ms(), sink);
  if (result.rc != kOk) return fail(env, result.error);
  return stored_value(env, result);
}

// getMulti(keys): [[key, value], …] of those that there are, all of one moment.
napi_value get_multi(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  Call<0> call(env, info);
  bool is = false;
  uint32_t n = 0;
  if (!call.dict) return nullptr;
  if (napi_is_array(env, args[0], &is) != napi_ok || !is) {
    throw_error(env, "ERR_MOONPHASE_OPTION", "the keys are an array");
    return nullptr;
  }
  napi_get_array_length(env, args[0], &n);
  std::vector<std::string> kept(n);
  std::vector<Str> keys(n);
  std::vector<shm::GetResult> results(n);
  for (uint32_t i = 0; i < n; ++i) {
    napi_value key = nullptr;
    napi_get_element(env, args[0], i, &key);
    if (!call.read_key(key, &keys[i], &kept[i])) return nullptr;
  }
  Copies copies;
  call.dict->get_multi(keys, shm::now_ms(), copies.sink(), results.data());
  napi_value list = nullptr;
  napi_create_array(env, &list);
  uint32_t count = 0;
  for (uint32_t i = 0; i < n; ++i) {
    if (results[i].type == shm::Type::kNil) continue;
    if (results[i].rc != kOk) return fail(env, results[i].error);
    napi_value pair = nullptr, key = nullptr, value = stored_value(env, results[i]);
    if (!value) return nullptr;
    napi_create_array_with_length(env, 2, &pair);
    napi_get_element(env, args[0], i, &key);
    napi_set_element(env, pair, 0, key);
    napi_set_element(env, pair, 1, value);
    napi_set_element(env, list, count++, pair);
  }
  return list;
}

// setMulti([[key, value], …], ttl?): true.
napi_value set_multi(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  Call<0> call(env, info);
  bool is = false;
  uint32_t n = 0;
  if (!call.dict) return nullptr;
  if (napi_is_array(env, args[0], &is) != napi_ok || !is) {
    throw_error(env, "ERR_MOONPHASE_OPTION", "the entries are an array of [key, value]");
    return nullptr;
  }
  int64_t ttl = 0;
  if (!read_ttl(env, args.count > 1 ? args[1] : nullptr, &ttl)) return nullptr;
  napi_get_array_length(env, args[0], &n);
  std::vector<std::string> kept(size_t{n} * 2);
  std::vector<shm::Item> items(n);
  for (uint32_t i = 0; i < n; ++i) {
    napi_value pair = nullptr, key = nullptr, value = nullptr;
    napi_get_element(env, args[0], i, &pair);
    if (napi_get_element(env, pair, 0, &key) != napi_ok ||
        napi_get_element(env, pair, 1, &value) != napi_ok) {
      throw_error(env, "ERR_MOONPHASE_OPTION", "the entries are an array of [key, value]");
      return nullptr;
    }
    if (!call.read_key(key, &items[i].key, &kept[size_t{i} * 2]) ||
        !call.read_value(value, &items[i].value, &kept[size_t{i} * 2 + 1]))
      return nullptr;
  }
  size_t stored = 0;
  shm::StoreResult result = call.dict->set_multi(items, ttl, 0, shm::now_ms(), &stored);
  return result.rc == kOk ? js_boolean(env, true) : fail(env, result.error);
}

// cas(key, old, value, ttl?): whether `old` was what was stored; undefined and null are nothing.
napi_value cas(napi_env env, napi_callback_info info) {
  Call<4> call(env, info);
  if (!call.dict) return nullptr;
  shm::Value old, value;
  std::string kept_old, kept;
  int64_t ttl = 0;
  if (!call.read_value(call[1], &old, &kept_old) || !call.read_value(call[2], &value, &kept) ||
      !call.ttl(3, &ttl))
    return nullptr;
  if (old.type == shm::Type::kEncoded) {
    throw_error(env, "ERR_MOONPHASE_OPTION", "cas compares no arrays and objects");
    return nullptr;
  }
  shm::StoreResult result = call.dict->cas(call.key, old, value, ttl, 0, shm::now_ms());
  if (result.rc == kError) return fail(env, result.error);
  return js_boolean(env, result.rc == kOk);
}

// resize(bytes).
napi_value resize(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  Call<0> call(env, info);
  if (!call.dict) return nullptr;
  double size = 0;
  if (napi_get_value_double(env, args[0], &size) != napi_ok || !(size >= 8192) || size > 9e15) {
    throw_error(env, "ERR_MOONPHASE_OPTION", "the size is at least 8192 bytes");
    return nullptr;
  }
  const char* error = call.dict->resize(static_cast<uint64_t>(size), shm::now_ms());
  return error ? fail(env, error) : nullptr;
}

napi_value stats(napi_env env, napi_callback_info info) {
  Call<0> call(env, info);
  if (!call.dict) return nullptr;
  shm::Stats s = call.dict->stats();
  napi_value object = nullptr;
  napi_create_object(env, &object);
  for (const shm::StatsField& f : shm::kStatsFields)
    js_set(env, object, f.js, js_number(env, static_cast<double>(s.*f.value)));
  return object;
}

// subscribe(prefix, callback): a function that ends it.
napi_value subscribe(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  Call<0> call(env, info);
  Str prefix;
  std::string keep;
  if (!call.dict) return nullptr;
  if (!call.text(args[0], &prefix, &keep) || js_type(env, args[1]) != napi_function) {
    throw_error(env, "ERR_MOONPHASE_OPTION",
                "subscribe takes a prefix, which is a string or a Buffer, and a function");
    return nullptr;
  }
  return watch_zone(env, call.handle->zone, prefix, args[1]);
}

// store(mode, …): true, or false when the mode's condition does not hold.
napi_value store(napi_env env, napi_callback_info info, int mode) {
  Call<3> call(env, info);
  if (!call.dict) return nullptr;
  shm::Value value;
  std::string keep;
  if (!call.read_value(call[1], &value, &keep)) return nullptr;
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
      method("cas", cas),
      method("getMulti", get_multi),
      method("setMulti", set_multi),
      method("resize", resize),
      method("stats", stats),
      method("subscribe", subscribe),
      {"capacity", nullptr, nullptr, capacity, nullptr, nullptr, napi_enumerable, nullptr},
      {"freeSpace", nullptr, nullptr, free_space, nullptr, nullptr, napi_enumerable, nullptr},
  };
  napi_value constructor = nullptr;
  napi_define_class(env, "SharedDict", NAPI_AUTO_LENGTH, construct, nullptr,
                    sizeof methods / sizeof *methods, methods, &constructor);
  js_set(env, exports, "SharedDict", constructor);
}

}  // namespace moonphase::bind
