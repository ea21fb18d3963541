// Requests that come in through Node's own HTTP servers, by numbers that JavaScript gives them:
// one call brings a request in, one call out brings most answers.
#pragma once

#include <memory>
#include <vector>

#include "bind/env.h"
#include "engine/runtime.h"
#include "http/host.h"

namespace moonphase::bind {

class Door final : public http::Host {
 public:
  Door(Env* env, engine::Runtime* runtime) : env_(env), runtime_(runtime) {}
  void set_callback(napi_value fn);
  void close();
  Env* env() const { return env_; }
  // Null: the gateway has ended.
  engine::Runtime* runtime() const { return runtime_; }
  // Whether there is something to serve.
  bool is_open() const {
    return runtime_->current && runtime_->current->plan->hosted.default_server;
  }

  // What JavaScript gets: 0, or what the request passes on with (Passed).
  uint32_t begin(uint32_t id, const http::HostedRequest& from);
  // Of a connection with that number: what is known of it, or what another one was known by, whose
  // place it takes (`connection` tells).
  http::HostedPeer* peer(uint32_t connection) { return &peers_[connection % kPeers]; }
  http::HostedConnection* find(uint32_t id) const {
    return id < open_.size() ? open_[id] : nullptr;
  }
  void forget(uint32_t id) {
    if (id < open_.size()) open_[id] = nullptr;
  }

  bool output(http::HostedConnection* c, Str head, Str body, bool last, Str trailers) override;
  void want_body(http::HostedConnection* c) override;
  void pass_on(http::HostedConnection* c) override;
  std::string sent_head(http::HostedConnection* c) override;
  void ended(http::HostedConnection* c, bool complete) override;

  // JavaScript tells that it has answered; `head` is a string.
  void answered(http::HostedConnection* c, int status, napi_value head, int64_t bytes, bool broken);

 private:
  enum Event : uint32_t { kOutput, kBody, kPass, kEnd };
  // False: the callback's answer is false.
  bool call(uint32_t id, Event event, std::initializer_list<napi_value> values);

  Env* env_;
  engine::Runtime* runtime_;
  napi_ref callback_ = nullptr;
  std::vector<http::HostedConnection*> open_;
  static constexpr uint32_t kPeers = 256;
  const std::unique_ptr<http::HostedPeer[]> peers_ = std::make_unique<http::HostedPeer[]>(kPeers);
  http::HostedConnection* beginning_ = nullptr;
  uint32_t passed_ = 0;
  // What `answered` has been told; Lua may run JavaScript that tells of another answer.
  struct Told {
    http::HostedConnection* c;
    napi_value head;
    Told* below;
  };
  Told* told_ = nullptr;
};

// What JavaScript calls: lib/binding.ts has it as NativeDoor. Its functions may outlive the
// gateway.
napi_value door_object(napi_env env, const std::shared_ptr<Door>& door);

}  // namespace moonphase::bind
