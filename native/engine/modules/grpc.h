// grpc_pass: requests to a server over HTTP/2, whose trailers the client gets.
#pragma once

#include "engine/modules/pass.h"
#include "http/h2_client.h"

namespace moonphase::engine {

struct GrpcConf : PassConf {};

// Resolves the hosts of all `grpc_pass`; `error` in nginx's words with its place.
bool seal_grpc(Plan& plan, std::string* error);
void register_grpc();

namespace grpc {
// One request's; behind Upstream::data.
struct Ctx : PassTarget {
  Upstream* u = nullptr;
  const GrpcConf* conf = nullptr;
  // The request, as create_request() has made it.
  http::HeadField* fields = nullptr;
  size_t count = 0;
  // The answer.
  http::H2Client* client = nullptr;  // of this try's connection, once it is begun
  bool status_seen = false, head_over = false;
  int64_t length = -1;  // bytes of the body that must still come; -1: unknown
};
// grpc_response.cc
extern const http::H2Client::Sink kSink;  // without its `p`
int process_header(Upstream& u);
int begin_body(Upstream& u);
int body(Upstream& u, char* from, char* to);
}  // namespace grpc

}  // namespace moonphase::engine
