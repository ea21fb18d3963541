// The sockets that a runtime listens on.
#pragma once

#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/plan.h"
#include "http/connection.h"
#include "net/listener.h"

namespace moonphase::engine {

// A socket, and the addresses without one whose connections come through it.
struct Listening {
  Listening() = default;
  Listening(const Listening&) = delete;
  ~Listening();
  http::HttpServer* server = nullptr;
  std::string name;
  const http::ListenConf* conf = nullptr;  // of the current plan
  net::Listener* listener = nullptr;
  std::vector<std::pair<sockaddr_storage, const http::ListenConf*>> narrower;
};

// Makes *all what `plan` wants: sockets that are there already go on (by descriptor, or by name
// where `fds` has none), others are opened or taken over, the rest is closed. On failure *all has
// lost what it could reuse.
bool listen_on(http::HttpServer* server, const Plan& plan, const std::vector<int>& fds,
               std::vector<std::unique_ptr<Listening>>* all, std::string* error);

// The plan is another one: who connects before listen_on() is its client already.
void adopt_listening(const Plan& plan, std::vector<std::unique_ptr<Listening>>* all);

// The address in a new plan; null: it is not listened on any more.
const http::ListenConf* successor(const Plan& plan, const http::ListenConf* old);

}  // namespace moonphase::engine
