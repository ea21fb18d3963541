// What proxy_* and grpc_* of a location both have, and grpc_* itself.
#include <set>

#include "bind/plan_parts.h"
#include "engine/modules/grpc.h"

namespace moonphase::bind {

using engine::PassConf;

namespace {

void read_target(const PlanValue& v, PassConf& conf) {
  if (!v.has("host")) {
    conf.dynamic = true;
    read(v.get("url"), conf.url);
    return;
  }
  if (v.has("ssl")) read(v.get("ssl"), conf.ssl);
  PLAN_READ(conf, v, host);
  PLAN_READ_OPTIONAL(conf, v, port);
  if (v.has("noPort")) read(v.get("noPort"), conf.no_port);
  if (v.has("portText")) read(v.get("portText"), conf.port_text);
  conf.unix_socket = v.has("family") && v.get("family").bytes() == "unix";
}

uint32_t ignored_bit(const std::string& word) {
  if (word == "X-Accel-Redirect") return engine::kIgnoreRedirect;
  if (word == "X-Accel-Limit-Rate") return engine::kIgnoreLimitRate;
  if (word == "X-Accel-Buffering") return engine::kIgnoreBuffering;
  if (word == "X-Accel-Charset") return engine::kIgnoreCharset;
  if (word == "X-Accel-Expires") return engine::kIgnoreAccelExpires;
  if (word == "Cache-Control") return engine::kIgnoreCacheControl;
  if (word == "Set-Cookie") return engine::kIgnoreSetCookie;
  return word == "Vary" ? engine::kIgnoreVary : engine::kIgnoreExpires;
}

void read_upstream(const PassValues& v, engine::UpstreamConf& conf) {
  read(v.get("connect_timeout"), conf.connect_timeout);
  read(v.get("send_timeout"), conf.send_timeout);
  read(v.get("read_timeout"), conf.read_timeout);
  conf.has_bind = v.has("bind");
  if (conf.has_bind) read(v.get("bind").get("address"), conf.bind);
  read(v.get("socket_keepalive"), conf.socket_keepalive);
  read(v.get("buffer_size"), conf.buffer_size);
  read(v.get("intercept_errors"), conf.intercept_errors);
  conf.next_upstream = 0;
  bool off = false;
  v.get("next_upstream").each([&](const PlanValue& word) {
    std::string text = word.bytes();
    off |= text == "off";
    conf.next_upstream |= next_upstream_bit(text);
  });
  if (off) conf.next_upstream = 0;
  read(v.get("next_upstream_tries"), conf.next_tries);
  read(v.get("next_upstream_timeout"), conf.next_timeout);
  v.get("ignore_headers").each([&](const PlanValue& word) {
    conf.ignore_headers |= ignored_bit(word.bytes());
  });
}

}  // namespace

uint32_t next_upstream_bit(const std::string& word) {
  static constexpr std::pair<const char*, uint32_t> kWords[] = {
      {"error", engine::kFailError},
      {"timeout", engine::kFailTimeout},
      {"invalid_header", engine::kFailInvalidHeader},
      {"non_idempotent", engine::kFailNonIdempotent},
      {"http_500", engine::kFail500},
      {"http_502", engine::kFail502},
      {"http_503", engine::kFail503},
      {"http_504", engine::kFail504},
      {"http_403", engine::kFail403},
      {"http_404", engine::kFail404},
      {"http_429", engine::kFail429},
  };
  for (const auto& [name, bit] : kWords)
    if (word == name) return bit;
  return 0;
}

const char* PassValues::full(const char* name) const {
  static thread_local std::set<std::string> names;
  return names.insert(std::string(kind_) + "_" + name).first->c_str();
}

void read_pass(const PassValues& v, PassConf& conf) {
  read_target(v.get("pass"), conf);
  read_upstream(v, conf.upstream);
  conf.upstream.tls = read_upstream_tls(v);
  v.get("set_header").each([&](const PlanValue& one) {
    engine::PassHeader& header = conf.set_headers.emplace_back();
    PLAN_READ(header, one, name);
    PLAN_READ(header, one, value);
  });
  read(v.get("hide_header"), conf.hide_headers);
  read(v.get("pass_header"), conf.pass_headers);
}

void read_grpc(const PlanValue& location, engine::LocConf& to) {
  if (!location.has("grpc")) return;
  auto conf = std::make_shared<engine::GrpcConf>();
  PlanValue v = location.get("grpc");
  read_pass(PassValues(v, "grpc"), *conf);
  conf->schema = conf->ssl ? "grpcs://" : "grpc://";
  conf->upstream.tls->settings.http2 = true;
  conf->upstream.buffering = conf->upstream.change_buffering = false;
  conf->upstream.pass_trailers = true;
  to.module[engine::kModGrpc] = std::move(conf);
}

}  // namespace moonphase::bind
