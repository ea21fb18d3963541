// How a cosocket's incoming bytes become one result: by size, line, all, any, or up to a pattern.
// Knows no sockets.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/types.h"

namespace moonphase::engine {

// The compiled pattern of sock:receiveuntil, and where its iterator stands between calls. Partial
// matches recover as lua-nginx-module's automaton does, so that chunk borders are the same.
class UntilPattern {
 public:
  UntilPattern(Str pattern, bool inclusive);
  Str pattern() const { return pattern_; }

  bool inclusive;
  bool finished =
      false;         // the last sized call met the pattern: the next call answers nil, nil, nil
  size_t state = 0;  // bytes of the pattern matched so far, within one call

  // State after `c` where pattern[state] differs; 0 when nothing of the match can be kept.
  size_t recover(size_t state, char c) const;

 private:
  struct Edge {
    char c;
    size_t next;
  };
  std::string pattern_;
  std::vector<std::vector<Edge>> edges_;  // by state
};

class Receiver {
 public:
  enum class Mode : uint8_t { kSize, kLine, kAll, kAny, kUntil };

  void start(Mode mode, size_t size, UntilPattern* until = nullptr);
  // Takes bytes from [*p, end): kOk when the result is complete, kAgain when more must come.
  Rc feed(const char** p, const char* end);
  bool any() const { return mode_ == Mode::kAny; }
  // The stream has ended: is what we have a complete result?
  bool complete_at_eof() const { return mode_ == Mode::kAll; }
  // Bytes that may still be read straight into `tail()`, past any buffer (large sizes, "*a"). 0:
  // use the buffer.
  size_t direct() const;
  std::string& gathered() { return out_; }
  // So many bytes were read into gathered() by the caller.
  void took(size_t n) {
    if (mode_ == Mode::kSize) rest_ -= n;
  }
  bool satisfied() const { return mode_ == Mode::kSize && rest_ == 0; }

  // The result; valid until the next start or feed. `view` when it could be left in the caller's
  // buffer.
  Str result() const { return view_.data() ? view_ : Str(out_); }
  // The beginning of a pattern that was met last and is neither data nor known to be the pattern:
  // it goes back to the socket, for whichever reading call comes next.
  Str take_unmatched();
  // What came before an error.
  Str partial() const { return out_; }
  void drop() {
    view_ = {};
    out_.clear();
    if (out_.capacity() > kKeep) out_.shrink_to_fit();
  }

 private:
  static constexpr size_t kKeep = 16384;
  Rc feed_line(const char** p, const char* end);
  Rc feed_until(const char** p, const char* end);
  Mode mode_ = Mode::kAny;
  size_t rest_ = 0;
  bool limited_ = false;  // kUntil with a size
  UntilPattern* until_ = nullptr;
  Str view_;
  std::string out_;
};

}  // namespace moonphase::engine
