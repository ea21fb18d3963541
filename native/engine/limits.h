// What a Lua VM may use: memory, and time in one go. Memory is refused by the allocator, while Lua
// code runs; time is looked at by a debug hook, which compiled code would pass by: a VM with a
// time limit is interpreted.
#pragma once

#include <lua.hpp>

#include <cstddef>
#include <cstdint>

namespace moonphase::engine {

class Limits {
 public:
  // 0: no limit of that kind.
  Limits(lua_State* L, size_t memory, int64_t timeout_ms);
  // Before the VM closes.
  ~Limits();
  Limits(const Limits&) = delete;
  Limits& operator=(const Limits&) = delete;

  // Around every run of Lua code (RunningLua), also of what a function of JavaScript calls. `leave`
  // gets what `enter` gave. `goes_on`: the time began before; coroutines have only taken turns.
  int enter(bool goes_on);
  void leave(int paused) {
    --depth_;
    paused_ = paused;
  }

  // The time is over, and what runs is being told so.
  bool late() const { return late_; }

  // While native code works in the place of Lua's, which must not fail half-way.
  class Pause {
   public:
    explicit Pause(Limits* limits) : limits_(limits) {
      if (limits_) ++limits_->paused_;
    }
    ~Pause() {
      if (limits_) --limits_->paused_;
    }
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    Limits* limits_;
  };

 private:
  static void* allocate(void* self, void* p, size_t osize, size_t nsize);
  static void on_hook(lua_State* L, lua_Debug*);
  lua_State* L_;
  lua_Alloc allocate_;
  void* allocator_;
  size_t limit_, used_ = 0;
  int64_t timeout_ms_, deadline_ns_ = 0;
  int depth_ = 0, paused_ = 0;
  bool refused_ = false, late_ = false;
};

}  // namespace moonphase::engine
