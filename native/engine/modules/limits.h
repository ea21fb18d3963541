// limit_req and limit_conn: how often and how much at once (ngx_http_limit_req_module,
// ngx_http_limit_conn_module). What is counted lies in shared memory, by key.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "http/conf.h"
#include "shm/zone.h"

namespace moonphase::engine {

struct Generation;

// A zone of limit_req_zone or limit_conn_zone.
struct LimitZone {
  std::string name;
  size_t size = 0;
  http::Complex key;
  std::string key_text;  // as the configuration has it
  int64_t rate = 0;      // limit_req: thousandths of a request per second
  shm::Zone* shared = nullptr;
  ~LimitZone();
};
// Maps the plan's zones. False: *error.
bool open_limit_zones(Generation* g, std::string* error);

struct LimitRule {
  LimitZone* zone = nullptr;
  int64_t burst = 0, delay = 0;  // limit_req: thousandths of a request
  int64_t connections = 0;       // limit_conn
};
struct LimitRules {
  std::vector<LimitRule> rules;
  int log_level = 0, status = 503;
  bool dry_run = false;
};
struct LimitsConf {
  LimitRules requests, connections;
};

void register_limit_req();
void register_limit_conn();
// The first limits that are true of the value of a rule's key: it is empty or too long.
const LimitsConf* limits_of(const http::Request* r);
bool limits_used(const struct Plan& plan, LimitRules LimitsConf::*which);
bool usable_key(http::Request* r, const LimitZone& zone, Str key, size_t longest);

}  // namespace moonphase::engine
