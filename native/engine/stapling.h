// ssl_stapling: asks the responders of certificates for their status, when a handshake wants one
// that is not there or grows old. Handshakes never wait for it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "engine/plan.h"
#include "net/loop.h"
#include "net/resolver.h"

namespace moonphase::net {
class Staple;
class Stream;
}  // namespace moonphase::net

namespace moonphase::engine {

struct Generation;

// One certificate's.
class Stapler final : public LogContext {
 public:
  // `conf` is the server's: its resolver is used.
  Stapler(Generation* g, std::shared_ptr<net::Staple> staple, const LocConf* conf);
  ~Stapler() override;
  Stapler(const Stapler&) = delete;
  Stapler& operator=(const Stapler&) = delete;

  char* append(char* p, char* end) const override;

 private:
  enum Stage : uint8_t { kStatusLine, kHeaders, kBody };
  void ask();
  void resolved(const net::ResolveResult& result);
  void connect();
  void next();
  void fail();
  void disconnect();
  void send();
  void receive();
  Rc process(bool ended);
  Rc process_line(Str line);
  void finish();
  void say(int level, int err, const char* text) const;

  Generation* g_;
  std::shared_ptr<net::Staple> staple_;
  net::ResolverConf resolver_;
  int64_t resolver_timeout_;
  net::Resolution* resolving_ = nullptr;
  std::vector<net::ResolvedAddress> addresses_;
  size_t address_ = 0;
  std::string peer_;  // the address that is asked, for log lines
  net::Stream* stream_ = nullptr;
  net::Timer timer_{};
  std::string target_, request_;
  size_t sent_ = 0;
  std::string answer_;
  size_t parsed_ = 0;
  Stage stage_ = kStatusLine;
  int status_ = 0;
  int64_t length_ = -1;  // Content-Length
};

// For every certificate of the generation's servers that is to be stapled.
void start_stapling(Generation* g);

}  // namespace moonphase::engine
