// memc_pass: memcached by its text protocol, as memc-nginx-module speaks it.
#pragma once

#include <string>

#include "engine/upstream/upstream.h"

namespace moonphase::engine {

struct MemcConf {
  UpstreamConf upstream;
  Complex url;  // with variables: the name of an upstream
  bool dynamic = false;
  std::string host;
  int port = 0;
  bool no_port = true, unix_socket = false;
  UpstreamGroup* group = nullptr;  // made by seal_memc()
  uint32_t allowed = ~0u;          // bits of memc::Command
  bool flags_to_last_modified = false;
  // $memc_key and so on, by seal_memc()
  int key = -1, command = -1, value = -1, flags = -1, exptime = -1;
};

// The bit of a command in MemcConf::allowed; 0: there is no such command.
uint32_t memc_command_bit(Str name);
// Resolves the hosts of all `memc_pass`; `error` in nginx's words with its place.
bool seal_memc(Plan& plan, std::string* error);
void register_memc();

namespace memc {

enum Command : uint8_t {
  // the storage commands first
  kSet,
  kAdd,
  kReplace,
  kAppend,
  kPrepend,
  kGet,
  kDelete,
  kFlushAll,
  kIncr,
  kDecr,
  kStats,
  kVersion,
  kUnknown,
};

// One request's; behind Upstream::data and r->ctx[kModMemc].
struct Ctx {
  const MemcConf* conf = nullptr;
  Command command = kUnknown;
  Str command_name, key;  // as they are sent
  http::VarValue* flags = nullptr;
  int64_t trailer = 0;  // bytes of it that must still come behind a value
  bool is_storage() const { return command <= kPrepend; }
  bool counts() const { return command == kIncr || command == kDecr; }
};

// memc_response.cc
int process_header(Upstream& u);
int begin_body(Upstream& u);
int body(Upstream& u, char* from, char* to);

}  // namespace memc

}  // namespace moonphase::engine
