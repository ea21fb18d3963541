// A connection with nobody at the other end: nothing comes, nothing goes.
#pragma once

#include "http/connection.h"

namespace moonphase::http {

class NoClient : public Connection {
 public:
  ssize_t recv(void*, size_t) override { return net::kIoError; }
  void give_back(Str) override {}
  ssize_t peek() override { return error ? net::kIoError : net::kIoAgain; }
  Str preread(size_t* room) const override {
    *room = 0;
    return {};
  }
  Chain* send(Chain* in, int64_t) override { return in; }
  bool flush() override { return true; }
  void want_read(bool) override {}
  void want_write(bool) override {}
  const sockaddr* local_address() override { return nullptr; }
  void finish(Request*) override {}
  void abandon(Request*, int) override {}
};

}  // namespace moonphase::http
