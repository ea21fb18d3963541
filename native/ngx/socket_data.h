// What sock:send takes: a string, number, boolean, nil, or nested array tables of strings and
// numbers, as one run of bytes.
#pragma once

#include <lua.hpp>

#include <string>

#include "base/types.h"

namespace moonphase::ngx {

class SendData {
 public:
  // Null, or the text of the argument error (then nothing is held: it may be raised).
  const char* read(lua_State* L, int index);
  Str bytes() const { return buffer_ ? Str(*buffer_) : view_; }
  size_t size() const { return bytes().size(); }
  // The buffer behind bytes(), which a slow send takes over; null when the bytes are a Lua string's
  // own.
  std::string* owned() { return buffer_; }
  // Must be called before anything raises a Lua error.
  void release();

 private:
  bool append(lua_State* L, int index, const char** error);
  Str view_;
  std::string* buffer_ = nullptr;
};

}  // namespace moonphase::ngx
