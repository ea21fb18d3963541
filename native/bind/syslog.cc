#include "bind/syslog.h"

#include "base/clock.h"
#include "engine/sockets/peer.h"

namespace moonphase::bind {

SyslogOptions read_syslog(const PlanValue& v) {
  SyslogOptions options;
  const PlanValue address = v.get("address");
  const std::string host = address.get("host").bytes();
  const bool is_unix = address.get("family").bytes() == "unix";
  engine::Peer peer;
  if (!engine::literal_address(is_unix ? "unix:" + host : host, &peer))
    address.get("host").fail("an address");
  engine::set_port(&peer.addr, static_cast<int>(address.get("port").integer()));
  options.addr = peer.addr;
  options.len = peer.len;
  options.name = engine::address_text(peer, true);
  PLAN_READ(options, v, facility);
  PLAN_READ(options, v, severity);
  PLAN_READ(options, v, tag);
  PLAN_READ(options, v, hostname);
  return options;
}

namespace {

// sendSyslog(server, severity, message): opens a socket for this one message.
napi_value send_syslog(napi_env env, napi_callback_info info) {
  Args<3> args(env, info);
  int32_t severity = 0;
  napi_get_value_int32(env, args[1], &severity);
  clock_update();
  try {
    Syslog server(read_syslog(PlanValue(env, args[0])), nullptr);
    server.send(severity, bytes_of(env, args[2]));
  } catch (const PlanError& wrong) {
    napi_throw_type_error(env, nullptr, wrong.message.c_str());
  }
  return js_undefined(env);
}

}  // namespace

void define_syslog(napi_env env, napi_value exports) {
  add_function(env, exports, "sendSyslog", send_syslog);
}

}  // namespace moonphase::bind
