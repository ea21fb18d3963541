// Receiver: the same result however the bytes are cut.
#include "engine/sockets/receive.h"

#include <cstdio>
#include <cstdlib>

using moonphase::kAgain;
using moonphase::kOk;
using moonphase::Str;
using moonphase::engine::Receiver;
using moonphase::engine::UntilPattern;

namespace {

int failures = 0;

void expect(bool ok, const char* what, Str got) {
  if (ok) return;
  std::fprintf(stderr, "%s: got \"%.*s\"\n", what, static_cast<int>(got.size()), got.data());
  ++failures;
}

// Feeds `input` in pieces of `step`; each completed result ends with '|'.
std::string run(Receiver::Mode mode, size_t size, UntilPattern* until, Str input, size_t step) {
  std::string log;
  Receiver r;
  r.start(mode, size, until);
  while (!input.empty()) {
    const Str piece = input.substr(0, step);
    input.remove_prefix(piece.size());
    const char* p = piece.data();
    const char* end = p + piece.size();
    while (p < end) {
      if (until && until->finished) {
        log.append("!");
        until->finished = false;
      }
      if (r.feed(&p, end) != kOk) continue;
      log.append(r.result()).append("|");
      r.start(mode, size, until);
    }
  }
  return log.append(r.partial());
}

}  // namespace

int main() {
  for (size_t step : {1, 2, 3, 7, 100}) {
    expect(
        run(Receiver::Mode::kLine, 0, nullptr, "a\r\nbc\n\nd\re\r\nrest", step) == "a|bc||de|rest",
        "lines", "");
    expect(run(Receiver::Mode::kSize, 3, nullptr, "abcdefgh", step) == "abc|def|gh", "sizes", "");
    {
      UntilPattern p("--abc", false);
      const std::string got =
          run(Receiver::Mode::kUntil, 0, &p, "hello--ab--abcworld---abc--a", step);
      expect(got == "hello--ab|world-|", "until", got);
    }
    {
      UntilPattern p("abcabd", true);
      const std::string got = run(Receiver::Mode::kUntil, 0, &p, "abcabcabdx", step);
      expect(got == "abcabcabd|x", "until, overlapping, inclusive", got);
    }
    {
      UntilPattern p("--", false);
      const std::string got = run(Receiver::Mode::kUntil, 4, &p, "abcdefg--xyz", step);
      expect(got == "abcd|efg|!xyz", "until by sizes", got);
    }
  }
  if (failures) return EXIT_FAILURE;
  std::puts("receive: ok");
  return EXIT_SUCCESS;
}
