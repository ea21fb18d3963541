#include "engine/limits.h"

#include <luajit.h>

#include <ctime>

#include "engine/runtime.h"
#include "lua/call.h"
#include "lua/embedded.h"
#include "lua/vm.h"

namespace moonphase::engine {

namespace {

constexpr int kInstructions = 10000;  // between two looks at the clock

int64_t monotonic_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1000000000 + t.tv_nsec;
}

// late(): whether the time of the code that runs now is over.
int late(lua_State* L) {
  const Limits* limits = static_cast<Generation*>(lua::Vm::of(L)->user)->limits.get();
  lua_pushboolean(L, limits && limits->late());
  return 1;
}

int keep_hook(lua_State* L) {
  const lua::EmbeddedFile* file = lua::find_embedded("moonphase/time_limit.lua");
  if (lua::load_embedded(L, *file) != 0) lua_error(L);
  lua_pushcfunction(L, late);
  lua_call(L, 1, 0);
  return 0;
}

}  // namespace

Limits::Limits(lua_State* L, size_t memory, int64_t timeout_ms)
    : L_(L), limit_(memory), timeout_ms_(timeout_ms) {
  allocate_ = lua_getallocf(L, &allocator_);
  if (limit_) {
    used_ = static_cast<size_t>(lua_gc(L, LUA_GCCOUNT, 0)) * 1024 +
            static_cast<size_t>(lua_gc(L, LUA_GCCOUNTB, 0));
    lua_setallocf(L, allocate, this);
    // Garbage counts: it is collected early.
    lua_gc(L, LUA_GCSETPAUSE, 120);
    lua_gc(L, LUA_GCSETSTEPMUL, 400);
  }
  if (timeout_ms_) {
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    if (lua::protect(L, keep_hook, nullptr) != 0) lua_pop(L, 1);
    lua_sethook(L, on_hook, LUA_MASKCOUNT, kInstructions);
  }
}

Limits::~Limits() {
  lua_sethook(L_, nullptr, 0, 0);
  lua_setallocf(L_, allocate_, allocator_);
}

int Limits::enter(bool goes_on) {
  if (depth_ == 0 && refused_) {
    refused_ = false;
    lua_gc(L_, LUA_GCCOLLECT, 0);  // which may want memory itself: no limit yet
  }
  int paused = paused_;
  paused_ = 0;
  if (depth_++ > 0 || !timeout_ms_ || goes_on) return paused;
  deadline_ns_ = monotonic_ns() + timeout_ms_ * 1000000;
  if (!late_) return paused;
  late_ = false;
  lua_sethook(L_, on_hook, LUA_MASKCOUNT, kInstructions);
  return paused;
}

void* Limits::allocate(void* data, void* p, size_t osize, size_t nsize) {
  auto* self = static_cast<Limits*>(data);
  if (nsize > osize && self->depth_ > 0 && self->paused_ == 0 &&
      self->used_ + (nsize - osize) > self->limit_) {
    self->refused_ = true;
    return nullptr;
  }
  void* q = self->allocate_(self->allocator_, p, osize, nsize);
  if (q || nsize == 0) self->used_ += nsize - osize;
  return q;
}

void Limits::on_hook(lua_State* L, lua_Debug*) {
  auto* g = static_cast<Generation*>(lua::Vm::of(L)->user);
  Limits* self = g->limits.get();
  if (self->depth_ == 0 || self->paused_ > 0 || monotonic_ns() < self->deadline_ns_) return;
  // Whoever catches the error gets the next one at once.
  self->late_ = true;
  lua_sethook(L, on_hook, LUA_MASKCOUNT, 1);
  luaL_error(L, "the Lua code has run for more than %d ms without waiting",
             static_cast<int>(self->timeout_ms_));
}

}  // namespace moonphase::engine
