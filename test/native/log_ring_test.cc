// LogRing: what it keeps are always the newest lines, whole and in order.
#include "ngx/log_ring.h"

#include <cstdio>
#include <deque>
#include <string>

using moonphase::Str;
using moonphase::ngx::LogRing;

namespace {

int failures = 0;

void fail(const char* what, size_t step) {
  fprintf(stderr, "%s at step %zu\n", what, step);
  ++failures;
}

// Against a list of all lines written and not yet read.
void against_model(size_t size, unsigned seed) {
  LogRing ring(size);
  std::deque<std::string> model;
  unsigned state = seed;
  auto random = [&state](size_t n) {
    state = state * 1664525 + 1013904223;
    return (state >> 8) % n;
  };
  for (size_t step = 0; step < 20000 && !failures; ++step) {
    if (random(4)) {
      std::string line(random(size), static_cast<char>('a' + step % 26));
      ring.write(static_cast<int>(step % 8), line, static_cast<double>(step));
      // Too large for the ring with its bookkeeping: dropped.
      if (line.size() + 16 <= size) model.push_back(line);
      continue;
    }
    int level;
    Str line;
    double time;
    if (!ring.read(&level, &line, &time)) {
      if (!model.empty()) fail("empty", step);
      continue;
    }
    // Forgotten ones are the oldest.
    while (!model.empty() && model.front() != line) model.pop_front();
    if (model.empty()) return fail("unknown line", step);
    model.pop_front();
  }
}

}  // namespace

int main() {
  for (size_t size : {64, 100, 1000, 4096}) against_model(size, static_cast<unsigned>(size));
  return failures ? 1 : 0;
}
