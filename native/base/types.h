// Names that every area uses: byte strings and nginx's return codes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace moonphase {

// Bytes that somebody else owns; never NUL-terminated by contract.
using Str = std::string_view;

// Copies the bytes to `to` and returns the end; empty strings may be null.
inline char* put_bytes(char* to, Str s) {
  if (!s.empty()) std::memcpy(to, s.data(), s.size());
  return to + s.size();
}

// What handlers, filters and phases answer, with nginx's numbers (Lua sees some of them as ngx.OK,
// ngx.AGAIN …).
enum Rc : int {
  kOk = 0,
  kError = -1,
  kAgain = -2,
  kBusy = -3,
  kDone = -4,
  kDeclined = -5,
  kAbort = -6,
};

}  // namespace moonphase
