// The last lines of error.log in memory (lua_capture_error_log): a ring of bytes that forgets the
// oldest.
#pragma once

#include <memory>

#include "base/types.h"

namespace moonphase::ngx {

class LogRing {
 public:
  explicit LogRing(size_t size);
  // A line that is larger than the whole ring is dropped.
  void write(int level, Str line, double time);
  // Takes out the oldest; `line` is valid until the next write. False: empty.
  bool read(int* level, Str* line, double* time);
  size_t size() const { return size_; }
  int filter_level;

 private:
  struct Header {
    double time;
    unsigned size;
    int level;
  };
  size_t room() const;
  void skip_gap();
  void drop_oldest();
  void forget_all();

  std::unique_ptr<char[]> data_;
  size_t size_, head_ = 0, tail_ = 0;
  size_t end_;  // lines lie before it: a line that does not fit behind the others starts at 0
  size_t count_ = 0;
};

}  // namespace moonphase::ngx
