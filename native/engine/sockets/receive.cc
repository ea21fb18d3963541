#include "engine/sockets/receive.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace moonphase::engine {

UntilPattern::UntilPattern(Str pattern, bool with_pattern)
    : inclusive(with_pattern), pattern_(pattern) {
  const size_t n = pattern.size();
  edges_.resize(n);
  // A border at i: the pattern's prefix of length `k` stands again at i, and then the two differ.
  for (size_t i = 1; i < n; ++i) {
    size_t k = 0;
    while (i + k < n && pattern[k] == pattern[i + k]) ++k;
    if (k == 0 || i + k >= n) continue;
    std::vector<Edge>& at = edges_[i + k];
    auto same =
        std::find_if(at.begin(), at.end(), [&](const Edge& e) { return e.c == pattern[k]; });
    if (same == at.end())
      at.push_back({pattern[k], k + 1});
    else
      same->next = std::max(same->next, k + 1);
  }
}

size_t UntilPattern::recover(size_t state, char c) const {
  for (const Edge& e : edges_[state])
    if (e.c == c) return e.next;
  return 0;
}

void Receiver::start(Mode mode, size_t size, UntilPattern* until) {
  drop();
  mode_ = mode;
  rest_ = size;
  limited_ = size > 0;
  until_ = until;
  if (until) until->state = 0;
}

Str Receiver::take_unmatched() {
  if (!until_) return {};
  return until_->pattern().substr(0, std::exchange(until_->state, 0));
}

size_t Receiver::direct() const {
  constexpr size_t kLarge = 16384;
  if (mode_ == Mode::kSize && rest_ > kLarge) return rest_;
  if (mode_ == Mode::kAll && out_.size() >= kLarge) return std::max<size_t>(65536, out_.size());
  return 0;
}

Rc Receiver::feed(const char** p, const char* end) {
  const size_t have = static_cast<size_t>(end - *p);
  switch (mode_) {
    case Mode::kSize: {
      const size_t n = std::min(rest_, have);
      if (n == rest_ && out_.empty()) {
        view_ = {*p, n};
      } else {
        out_.append(*p, n);
      }
      *p += n;
      rest_ -= n;
      return rest_ == 0 ? kOk : kAgain;
    }
    case Mode::kAny: {
      if (have == 0) return kAgain;
      const size_t n = std::min(rest_, have);
      view_ = {*p, n};
      *p += n;
      return kOk;
    }
    case Mode::kAll:
      out_.append(*p, have);
      *p = end;
      return kAgain;
    case Mode::kLine:
      return feed_line(p, end);
    case Mode::kUntil:
      return feed_until(p, end);
  }
  return kError;
}

// A line ends with \n; every \r in it is dropped.
Rc Receiver::feed_line(const char** p, const char* end) {
  const size_t have = static_cast<size_t>(end - *p);
  const char* nl = have ? static_cast<const char*>(std::memchr(*p, '\n', have)) : nullptr;
  const char* stop = nl ? nl : end;
  const char* from = *p;
  *p = nl ? nl + 1 : end;
  const char* last = stop > from && stop[-1] == '\r' ? stop - 1 : stop;
  const size_t n = static_cast<size_t>(last - from);
  if (!n || !std::memchr(from, '\r', n)) {
    if (nl && out_.empty()) {
      view_ = {from, n};
      return kOk;
    }
    out_.append(from, n);
  } else {
    for (const char* c = from; c < last; ++c)
      if (*c != '\r') out_.push_back(*c);
  }
  return nl ? kOk : kAgain;
}

Rc Receiver::feed_until(const char** p, const char* end) {
  const Str pat = until_->pattern();
  size_t state = until_->state;
  const char* at = *p;
  while (at < end) {
    if (state == 0 && *at != pat[0]) {
      // Plain data up to the next possible start of the pattern.
      const size_t room = std::min(static_cast<size_t>(end - at), limited_ ? rest_ : SIZE_MAX);
      const void* hit = std::memchr(at, pat[0], room);
      const size_t n = hit ? static_cast<size_t>(static_cast<const char*>(hit) - at) : room;
      out_.append(at, n);
      at += n;
      if (limited_ && (rest_ -= n) == 0) {
        until_->state = 0;
        *p = at;
        return kOk;
      }
      continue;
    }
    const char c = *at;
    if (c == pat[state]) {
      ++at;
      if (++state < pat.size()) continue;
      until_->finished = limited_;
      until_->state = 0;
      if (until_->inclusive) out_.append(pat);
      *p = at;
      return kOk;
    }
    // What had matched is data after all, but for what a shorter match keeps.
    const size_t next = until_->recover(state, c);
    const size_t given_up = next ? state + 1 - next : state;
    out_.append(pat.substr(0, given_up));
    if (next) ++at;
    state = next;
    if (limited_) {
      if (rest_ <= given_up) {
        rest_ = 0;
        until_->state = state;
        *p = at;
        return kOk;
      }
      rest_ -= given_up;
    }
  }
  until_->state = state;
  *p = at;
  return kAgain;
}

}  // namespace moonphase::engine
