// Chunked bodies, decoded in pieces of every size.
#include "http/chunked.h"

#include "http_check.h"

using namespace moonphase;
using namespace moonphase::http;

namespace {

struct Sunk {
  std::string bytes;
  uint64_t limit = ~uint64_t{0};
};

std::string decode(std::string text, size_t step, uint64_t limit = ~uint64_t{0}) {
  ChunkDecoder d;
  d.init();
  Sunk sunk{{}, limit};
  ChunkDecoder::Sink sink{
      [](void* p, uint64_t n) { return n <= static_cast<Sunk*>(p)->limit; },
      [](void* p, char* from, size_t n) { static_cast<Sunk*>(p)->bytes.append(from, n); }, &sunk};
  char* end = text.data() + text.size();
  for (char* p = text.data(); p < end;) {
    char* stop = p + step < end ? p + step : end;
    switch (d.decode(p, stop, sink)) {
      case kDone:
        return sunk.bytes + "|" + std::string(p, end);
      case kError:
        return "error";
      case kDeclined:
        return "declined";
    }
  }
  return sunk.bytes + "…";
}

void gives(const std::string& text, const char* want, uint64_t limit = ~uint64_t{0}) {
  for (size_t step = 1; step <= text.size(); ++step) {
    std::string got = decode(text, step, limit);
    if (got != want) {
      same(got, want, text + " by " + std::to_string(step));
      return;
    }
  }
}

}  // namespace

int main() {
  gives("0\r\n\r\n", "|");
  gives("3\r\nabc\r\n0\r\n\r\n", "abc|");
  gives("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde|");
  gives("A\r\n0123456789\r\n000\r\n\r\nGET /", "0123456789|GET /");
  gives("3;a=b\r\nabc\r\n0;c\r\n\r\n", "abc|");
  gives("3 ;x=\"y\"\r\nabc\r\n0\r\n\r\n", "abc|");
  gives("3\r\nabc\r\n0\r\nTrailer: x\r\n\r\nrest", "abc|rest");
  gives("3\r\nab", "ab…");
  gives("3\r\nabcd\r\n", "error");
  gives("x\r\n", "error");
  gives("-1\r\n", "error");
  gives("3\nabc\n0\n\n", "error");
  gives("10000000000000000\r\n", "error");
  gives("5\r\nabcde\r\n0\r\n\r\n", "declined", 4);
  return g_failures != 0;
}
