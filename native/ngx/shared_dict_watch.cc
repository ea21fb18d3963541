// dict:subscribe(prefix, fn): what lua/moonphase/shared.lua builds on. Per VM and dictionary
// that has subscribers there is one thread which sleeps until there is news; the VM's loop then
// starts a timer without delay, whose function takes the news.
#include <string>
#include <vector>

#include "engine/timers.h"
#include "lua/vm.h"
#include "net/wakeup.h"
#include "ngx/ffi.h"
#include "ngx/shared_dict.h"
#include "shm/watch.h"

namespace moonphase::ngx {

namespace {

// Lives until its VM closes.
class Watcher {
 public:
  static Watcher* create(lua_State* L, shm::Zone* zone, LuaCtx* ctx, int dispatch_ref,
                         const char** error) {
    auto* w = new Watcher(L, zone, ctx, dispatch_ref);
    w->wakeup_ = net::Wakeup::create(net::current_loop(), on_news, w);
    *error = w->wakeup_ != nullptr ? w->watch_.start() : "no memory";
    if (*error != nullptr) {
      w->end();
      return nullptr;
    }
    lua::Vm::of(L)->on_close([](void* data) { static_cast<Watcher*>(data)->end(); }, w);
    return w;
  }
  shm::Watch& watch() { return watch_; }

 private:
  Watcher(lua_State* L, shm::Zone* zone, LuaCtx* ctx, int dispatch_ref)
      : vm_(lua::Vm::of(L)),
        origin_(engine::timer_origin(ctx)),
        dispatch_ref_(dispatch_ref),
        watch_(
            zone, [](void* data) { static_cast<Watcher*>(data)->wakeup_->send(); }, this) {}
  ~Watcher() = default;
  void end() {
    net::Wakeup* wakeup = wakeup_;
    delete this;  // its thread has ended then
    if (wakeup != nullptr) wakeup->close();
  }
  static void on_news(void* data) {
    auto* w = static_cast<Watcher*>(data);
    auto* g = static_cast<engine::Generation*>(w->vm_->user);
    if (g == nullptr || g->exiting) return;
    lua_State* L = w->vm_->L();
    int top = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->dispatch_ref_);
    if (const char* why = engine::lua_start_event(L, g, w->origin_, top + 1)) {
      const Log& log = g->plan->error_log;
      if (log.enabled(kLogErr))
        log_write(log, nullptr, kLogErr, 0, "lua failed to tell subscribers of a change: %s", why);
    }
    lua_settop(L, top);
  }

  lua::Vm* vm_;
  engine::TimerOrigin origin_;
  int dispatch_ref_;
  net::Wakeup* wakeup_ = nullptr;
  shm::Watch watch_;
};

// watch(dict, dispatch): a light userdata for take(); nil and why not.
int watch(lua_State* L) {
  SharedDict* dict = lua_istable(L, 1) ? dict_at(L, 1) : nullptr;
  if (dict == nullptr) return luaL_error(L, "bad \"zone\" argument");
  luaL_checktype(L, 2, LUA_TFUNCTION);
  if (engine::request_of(L) == nullptr) return luaL_error(L, "no request");
  LuaCtx* ctx = engine::check(L, engine::kCapTimer);
  lua_settop(L, 2);
  int ref = luaL_ref(L, LUA_REGISTRYINDEX);
  const char* error = nullptr;
  Watcher* w = Watcher::create(L, dict->zone, ctx, ref, &error);
  if (w == nullptr) {
    luaL_unref(L, LUA_REGISTRYINDEX, ref);
    lua_pushnil(L);
    lua_pushstring(L, error);
    return 2;
  }
  lua_pushlightuserdata(L, w);
  return 1;
}

// take(watcher): {change, key, change, key, …}; false where a change has no key.
int take(lua_State* L) {
  struct News {
    std::string bytes;
    std::vector<std::pair<shm::Change, uint32_t>> list;
  };
  auto* w = static_cast<Watcher*>(lua_touserdata(L, 1));
  News news;
  w->watch().read(
      [](void* owner, shm::Change change, Str key) {
        auto* n = static_cast<News*>(owner);
        n->bytes += key;
        n->list.emplace_back(change, static_cast<uint32_t>(key.size()));
      },
      &news);
  static constexpr const char* kNames[] = {"", "set", "delete", "flush", "lost"};
  lua_createtable(L, static_cast<int>(news.list.size() * 2), 0);
  const char* p = news.bytes.data();
  int i = 0;
  for (auto [change, size] : news.list) {
    lua_pushstring(L, kNames[static_cast<size_t>(change)]);
    lua_rawseti(L, -2, ++i);
    if (size > 0) {
      lua_pushlstring(L, p, size);
    } else {
      lua_pushboolean(L, 0);
    }
    lua_rawseti(L, -2, ++i);
    p += size;
  }
  return 1;
}

}  // namespace

void add_watch_methods(lua_State* L) {
  lua_pushcfunction(L, watch);
  lua_setfield(L, -2, "__watch");
  lua_pushcfunction(L, take);
  lua_setfield(L, -2, "__take");
}

}  // namespace moonphase::ngx
