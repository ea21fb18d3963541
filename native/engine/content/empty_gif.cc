// empty_gif: one transparent pixel.
#include "engine/content.h"
#include "engine/lifecycle.h"
#include "engine/phases.h"
#include "http/output.h"

namespace moonphase::engine {

namespace {

// GIF89a, 1 × 1, two colours of which the second is transparent.
constexpr unsigned char kPixel[] = {
    'G',  'I',  'F',  '8',  '9',  'a',  1, 0, 1, 0, 0x80, 0x01, 0,  // header and screen
    0,    0,    0,    0xff, 0xff, 0xff,                             // colours
    0x21, 0xf9, 4,    0x01, 0,    0,    1, 0,                       // transparency
    0x2c, 0,    0,    0,    0,    1,    0, 1, 0, 0, 2,    2,    0x4c,
    0x01, 0,    0x3b,  // image and trailer
};
constexpr int64_t kMade = 23349600;  // nginx's: September 28th, 1970

int handler(Request* r) {
  if (!(r->method & (http::kGet | http::kHead))) return 405;
  r->headers_out.last_modified_time = kMade;
  static const http::Complex kText{
      std::string(reinterpret_cast<const char*>(kPixel), sizeof kPixel), {}};
  return send_response(r, 200, "image/gif", kText);
}

}  // namespace

void register_empty_gif() { set_content_handler(ContentKind::kEmptyGif, handler); }

}  // namespace moonphase::engine
