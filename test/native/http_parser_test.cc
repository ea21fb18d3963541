// The tokenizers of request lines and headers: same result however the bytes are cut.
#include "http/parse.h"

#include <cstring>

#include "http_check.h"

using namespace moonphase;
using namespace moonphase::http;

namespace {

struct LineCase {
  std::string text;
  int rc;
  const char *method, *uri;
  int version;
};

// Parses in pieces of `step` bytes.
int run_line(LineParser& p, char* text, size_t n, size_t step, size_t* used) {
  char* pos = text;
  size_t given = 0;
  int rc = kAgain;
  while (rc == kAgain && given < n) {
    given = given + step < n ? given + step : n;
    rc = p.parse(pos, text + given);
  }
  *used = static_cast<size_t>(pos - text);
  return rc;
}

void line(const LineCase& c) {
  for (size_t step : {size_t{1}, size_t{2}, size_t{7}, c.text.size()}) {
    std::string copy = c.text;
    LineParser p;
    size_t used;
    int rc = run_line(p, copy.data(), copy.size(), step, &used);
    if (rc != c.rc) {
      check(false, "request line", c.text + " gives " + std::to_string(rc));
      return;
    }
    if (rc != kOk) continue;
    same({p.start, static_cast<size_t>(p.method_end - p.start)}, c.method, c.text);
    same({p.uri_start, static_cast<size_t>(p.uri_end - p.uri_start)}, c.uri, c.text);
    check(p.major * 1000 + p.minor == c.version, "version", c.text);
    check(used == copy.size(), "bytes used", c.text);
  }
}

std::string headers(std::string text, bool underscores, size_t step) {
  HeaderParser p;
  std::string out;
  char *pos = text.data(), *end = pos;
  for (;;) {
    int rc = p.parse(pos, end, underscores);
    if (rc == kAgain) {
      if (end == text.data() + text.size()) return out + "…";
      end = end + step < text.data() + text.size() ? end + step : text.data() + text.size();
      continue;
    }
    if (rc == kParseHeadersDone) return out + ".";
    if (rc == kBadHeader) return out + "!";
    out += p.invalid ? "?" : "";
    out +=
        std::string(p.name_start, p.name_end) + "=" + std::string(p.value_start, p.value_end) + ";";
  }
}

void head(const std::string& text, const char* want, bool underscores = false) {
  for (size_t step : {size_t{1}, size_t{3}, text.size()})
    same(headers(text, underscores, step), want, text);
}

}  // namespace

int main() {
  line({"GET / HTTP/1.1\r\n", kOk, "GET", "/", 1001});
  line({"\r\n\r\nGET /a?b HTTP/1.0\n", kOk, "GET", "/a?b", 1000});
  line({"GET   /x   HTTP/1.1  \r\n", kOk, "GET", "/x", 1001});
  line({"GET /x\r\n", kOk, "GET", "/x", 9});
  line({"GET /x \n", kOk, "GET", "/x", 9});
  line({"POST /x\r\n", kBad09Method, "", "", 0});
  line({"FOO_-B /x HTTP/1.9\r\n", kOk, "FOO_-B", "/x", 1009});
  line({"get / HTTP/1.1\r\n", kBadMethod, "", "", 0});
  line({"G1 / HTTP/1.1\r\n", kBadMethod, "", "", 0});
  line({"\x16\x03\x01", kBadMethod, "", "", 0});
  line({"GET / HTTP/2.0\r\n", kBadVersion, "", "", 0});
  line({"GET / HTTP/11.0\r\n", kBadVersion, "", "", 0});
  line({"GET / HTTP/0.9\r\n", kBadRequest, "", "", 0});
  line({"GET / HTTP/1.x\r\n", kBadRequest, "", "", 0});
  line({"GET / HTTP/1.1111\r\n", kBadRequest, "", "", 0});
  line({"GET / HTTQ/1.1\r\n", kBadRequest, "", "", 0});
  line({"GET / HTTP/1.1\rX", kBadRequest, "", "", 0});
  line({"GET /a b HTTP/1.1\r\n", kBadRequest, "", "", 0});
  line({"GET /a\x01 HTTP/1.1\r\n", kBadRequest, "", "", 0});
  line({"GET /\xff HTTP/1.1\r\n", kOk, "GET", "/\xff", 1001});
  line({"GET * HTTP/1.1\r\n", kBadRequest, "", "", 0});
  line({"GET http://h:80/p HTTP/1.1\r\n", kOk, "GET", "/p", 1001});
  line({"GET http://h?q HTTP/1.1\r\n", kOk, "GET", "?q", 1001});
  line({"GET http://h HTTP/1.1\r\n", kOk, "GET", "/", 1001});
  line({"GET http://[::1]:8/ HTTP/1.1\r\n", kOk, "GET", "/", 1001});
  line({"GET http://h_h/ HTTP/1.1\r\n", kBadRequest, "", "", 0});
  line({"CONNECT h:443 HTTP/1.1\r\n", kOk, "CONNECT", "/", 1001});
  line({"CONNECT /x HTTP/1.1\r\n", kBadRequest, "", "", 0});
  line({"GET / HTTP/1.1", kAgain, "", "", 0});

  head("\r\n", ".");
  head("\n", ".");
  head("A: b\r\n\r\n", "A=b;.");
  head("A:b\nC:  d  \n\n", "A=b;C=d;.");
  head("A:\r\nB: \r\n\r\n", "A=;B=;.");
  head("A: b c\td \r\n\r\n", "A=b c\td;.");
  head("A\r\nB\n\r\n", "A=;B=;.");
  head("a_b: c\r\n\r\n", "?a_b=c;.");
  head("a_b: c\r\n\r\n", "a_b=c;.", true);
  head("_a: c\r\n\r\n", "_a=c;.", true);
  head("a/b: c\r\n\r\n", "?a/b=c;.");
  head("\xff: c\r\n\r\n", "?\xff=c;.");
  head(": c\r\n\r\n", "!");
  head(" a: c\r\n\r\n", "!");
  head("a b: c\r\n\r\n", "!");
  head("A: b\r\n c\r\n\r\n", "A=b;!");
  head("A: b\rc\r\n\r\n", "!");
  head("A: b\r\r\n\r\n", "A=b;.");
  head(std::string("A: b\0c\r\n\r\n", 10), "!");
  head(std::string("A: \0c\r\n\r\n", 9), "!");
  head("\rX", "!");
  head("A: b", "…");

  for (const char* m : {"GET", "POST", "UNLOCK", "PROPPATCH"})
    check(method_number(m) != kUnknownMethod, m);
  check(method_number("FOO") == kUnknownMethod, "FOO");
  return g_failures != 0;
}
