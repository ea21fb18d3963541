#include "bind/shared_watch.h"

#include <memory>
#include <string>
#include <vector>

#include "bind/encoded.h"
#include "bind/js_call.h"
#include "bind/js_error.h"
#include "bind/napi_util.h"
#include "net/wakeup.h"
#include "shm/watch.h"

namespace moonphase::bind {

namespace {

// One subscription. It lives until it is ended or its environment is; the function that ends it
// holds it too.
class Subscription final : public Resource {
 public:
  Subscription(Env* env, shm::Zone* zone, Str prefix) : Resource(env), prefix_(prefix) {
    wakeup_ = net::Wakeup::create(env->loop(), on_news, this);
    watch_ = std::make_unique<shm::Watch>(
        zone, [](void* data) { static_cast<Subscription*>(data)->wakeup_->send(); }, this);
  }
  const char* start(napi_value callback) {
    if (!wakeup_) return "no memory";
    if (const char* error = watch_->start()) return error;
    napi_create_reference(env_->napi(), callback, 1, &callback_);
    return nullptr;
  }
  void end() {
    watch_.reset();  // its thread has ended then
    if (wakeup_) wakeup_->close();
    wakeup_ = nullptr;
    if (callback_ && !env_->closing()) napi_delete_reference(env_->napi(), callback_);
    callback_ = nullptr;
  }
  void env_closing() override {
    end();
    if (held_) {
      gone_ = true;
    } else {
      delete this;
    }
  }
  void hold() { held_ = true; }
  // The function that ends it is collected; the subscription goes on if it was not called.
  void let_go() {
    held_ = false;
    if (gone_ || !watch_) delete this;
  }

 private:
  ~Subscription() override = default;
  static void on_news(void* data) { static_cast<Subscription*>(data)->tell(); }
  void tell() {
    struct News {
      Str prefix;
      std::vector<std::pair<shm::Change, std::string>> list;
    } news{prefix_, {}};
    watch_->read(
        [](void* owner, shm::Change change, Str key) {
          auto* n = static_cast<News*>(owner);
          bool all = change == shm::Change::kFlush || change == shm::Change::kLost;
          if (all || key.substr(0, n->prefix.size()) == n->prefix)
            n->list.emplace_back(change, key);
        },
        &news);
    static constexpr const char* kNames[] = {"", "set", "delete", "flush", "lost"};
    for (auto& [change, key] : news.list) {
      IntoJs js(env_);
      if (!js.ok() || !callback_) return;
      napi_env env = env_->napi();
      napi_value callback = nullptr, result = nullptr;
      napi_value args[] = {
          key.empty() ? js_undefined(env) : text_value(env, key.data(), key.size()),
          js_string(env, kNames[static_cast<size_t>(change)])};
      napi_get_reference_value(env, callback_, &callback);
      if (!call_js(env_, nullptr, nullptr, callback, 2, args, &result) && result)
        napi_fatal_exception(env, result);
    }
  }

  std::string prefix_;
  net::Wakeup* wakeup_ = nullptr;
  std::unique_ptr<shm::Watch> watch_;
  napi_ref callback_ = nullptr;
  bool held_ = false, gone_ = false;
};

napi_value end(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  static_cast<Subscription*>(data)->end();
  return nullptr;
}

}  // namespace

napi_value watch_zone(napi_env env, shm::Zone* zone, Str prefix, napi_value callback) {
  auto* s = new Subscription(Env::of(env), zone, prefix);
  if (const char* error = s->start(callback)) {
    s->end();
    s->let_go();
    throw_error(env, "ERR_MOONPHASE_SHARED", error);
    return nullptr;
  }
  napi_value function = nullptr;
  napi_create_function(env, "unsubscribe", NAPI_AUTO_LENGTH, end, s, &function);
  s->hold();
  napi_add_finalizer(
      env, function, s,
      [](napi_env, void* data, void*) { static_cast<Subscription*>(data)->let_go(); }, nullptr,
      nullptr);
  return function;
}

}  // namespace moonphase::bind
