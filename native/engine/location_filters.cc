// Which output filters have something to do at a location: the others are not called there.
#include "engine/locations.h"
#include "engine/modules/echo.h"
#include "engine/modules/headers_more.h"
#include "http/gzip.h"
#include "http/output.h"

namespace moonphase::engine {

namespace {

template <class T>
const T* module(const LocConf& conf, int number) {
  return static_cast<const T*>(conf.module[number].get());
}

}  // namespace

// What is not named here always runs. What ranges, gunzip, sub_filter and gzip do to bodies is
// switched on by their header filters; subrequests run all.
void seal_filters(const Plan& plan, LocConf& conf) {
  using http::Slot;
  using Expires = http::CoreConf::Expires;
  uint32_t header = 0;
  uint32_t body = slot_bit(Slot::kRangeBody) | slot_bit(Slot::kGunzip) | slot_bit(Slot::kSub) |
                  slot_bit(Slot::kGzip);

  auto* more = module<HeadersMoreConf>(conf, kModHeadersMore);
  if (!more || more->out.empty()) header |= slot_bit(Slot::kHeadersMore);
  if (!plan.lua.header_filter_used) header |= slot_bit(Slot::kLua);
  if (!plan.lua.body_filter_used) body |= slot_bit(Slot::kLua);
  // Captures are subrequests; at a main request this filter has but a line to log.
  if (!plan.lua.capture_used || !conf.error_log.enabled(kLogDebug)) {
    header |= slot_bit(Slot::kLuaCapture);
    body |= slot_bit(Slot::kLuaCapture);
  }
  auto* echo = module<EchoConf>(conf, kModEcho);
  if (!echo || (echo->before_body.empty() && echo->after_body.empty())) {
    header |= slot_bit(Slot::kEcho);
    body |= slot_bit(Slot::kEcho);
  }
  if (conf.add_trailer.empty()) {
    body |= slot_bit(Slot::kHeaders);
    if (conf.add_header.empty() && conf.expires.kind == Expires::kOff && conf.expires.value.empty())
      header |= slot_bit(Slot::kHeaders);
  }
  if (!conf.module[kModCharset]) header |= slot_bit(Slot::kCharset);
  if (!conf.module[kModSub]) header |= slot_bit(Slot::kSub);
  if (!conf.gzip || !conf.gzip->gunzip) header |= slot_bit(Slot::kGunzip);
  if (!conf.gzip || !conf.gzip->on) header |= slot_bit(Slot::kGzip);
  conf.header_filters = ~header;
  conf.body_filters = ~body;
}

}  // namespace moonphase::engine
