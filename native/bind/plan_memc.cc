// memc_* of a location.
#include "bind/plan_parts.h"
#include "engine/modules/memc.h"

namespace moonphase::bind {

using engine::MemcConf;

namespace {

void read_target(const PlanValue& v, MemcConf& conf) {
  conf.dynamic = !v.has("host");
  if (conf.dynamic) {
    read(v.get("url"), conf.url);
    return;
  }
  PLAN_READ(conf, v, host);
  PLAN_READ(conf, v, port);
  read(v.get("noPort"), conf.no_port);
  conf.unix_socket = v.get("family").bytes() == "unix";
}

uint32_t next_bits(const PlanValue& words) {
  static constexpr std::pair<const char*, uint32_t> kWords[] = {
      {"error", engine::kFailError},
      {"timeout", engine::kFailTimeout},
      {"invalid_response", engine::kFailInvalidHeader},
      {"not_found", engine::kFail404},
      {"off", 0},
  };
  uint32_t bits = 0;
  bool off = false;
  words.each([&](const PlanValue& word) {
    uint32_t bit = word.word(kWords);
    bits |= bit;
    off |= bit == 0;
  });
  return off ? 0 : bits;
}

}  // namespace

void read_memc(const PlanValue& location, engine::LocConf& to) {
  if (!location.has("memc")) return;
  PlanValue v = location.get("memc");
  auto conf = std::make_shared<MemcConf>();
  read_target(v.get("memc_pass"), *conf);
  engine::UpstreamConf& up = conf->upstream;
  read(v.get("memc_connect_timeout"), up.connect_timeout);
  read(v.get("memc_send_timeout"), up.send_timeout);
  read(v.get("memc_read_timeout"), up.read_timeout);
  read(v.get("memc_buffer_size"), up.buffer_size);
  read(v.get("memc_ignore_client_abort"), up.ignore_client_abort);
  up.buffering = false;
  up.intercept_errors = up.intercept_404 = true;
  up.next_upstream = next_bits(v.get("memc_next_upstream"));
  // memcached sends no headers: the answer has those that are ours.
  for (const char* name : {"server", "date"}) up.hidden.add(name);
  read(v.get("memc_flags_to_last_modified"), conf->flags_to_last_modified);
  conf->allowed = 0;
  v.get("memc_cmds_allowed").each([&](const PlanValue& word) {
    conf->allowed |= engine::memc_command_bit(word.bytes());
  });
  to.module[engine::kModMemc] = std::move(conf);
}

}  // namespace moonphase::bind
