// A request whose connection somebody else's HTTP server has: Node's own. It takes the road of all
// requests; what differs is where its bytes come from and where its answer goes.
#pragma once

#include <string>

#include "http/client.h"
#include "http/host_peer.h"

namespace moonphase::http {

class HostedConnection;

// What the server with the connection does for us. Each may call back into the connection.
class Host {
 public:
  // Bytes of the answer. The first call has its head: "200 OK\nName\nvalue\n…"; `last`: nothing
  // follows but trailers in that form. A stream (HostedRequest::stream) has no heads and no last.
  // False: `writable()` tells when there is room for more.
  virtual bool output(HostedConnection* c, Str head, Str body, bool last, Str trailers) = 0;
  // The client's body is wanted: `push` brings it.
  virtual void want_body(HostedConnection* c) = 0;
  // Nobody here gives the content; the host does: `take_*` or `take_end` bring what it is.
  virtual void pass_on(HostedConnection* c) = 0;
  // The head of the answer that the host has given by itself, while it tells of it (take_end): as
  // HTTP/1 has it, with its status line.
  virtual std::string sent_head(HostedConnection* c) = 0;
  // The request is over. Not complete: what the client has got so far is all.
  virtual void ended(HostedConnection* c, bool complete) = 0;

 protected:
  ~Host() = default;
};

// Whether a body may come, of whatever length.
enum class HostedBody : uint8_t { kNone, kSome, kByHead };

struct HostedRequest {
  Str method, url;
  int version = kVersion11;
  Str headers;  // "Name\nvalue\nName\nvalue"
  const HostedPeer* peer = nullptr;
  uint64_t requests = 1;
  HostedBody body = HostedBody::kNone;
  bool stream = false;     // an upgrade: the bytes of the connection itself
  bool passes_on = false;  // content that nobody here gives is the host's
};

class HostedConnection final : public Connection {
 public:
  // Owned by the server's list of connections.
  static HostedConnection* open(HttpServer* server, const ListenConf* listen, Host* host,
                                uint32_t id);
  // Runs the request as far as it goes; it may be over then.
  void begin(const HostedRequest& from);
  uint32_t id() const { return id_; }
  // --- what the host tells ---
  bool push(Str bytes);  // of the client's body; false: enough for now
  void push_end();
  void writable();
  void gone();  // the client, or the host's interest in it
  // --- of a request that was passed on ---
  // What Lua has changed of it; method and URL count as one.
  bool url_changed() const;
  bool headers_changed() const { return request->headers_in_edited; }
  bool body_taken() const { return request->body && input_used_; }
  // Whether output filters have something to do with the host's answer.
  bool filters_answer() const;
  bool logs_answer() const;
  // The host's answer, to be filtered; false from take_body: writable() later.
  void take_head(int status, Str text, Str headers);
  bool take_body(Str bytes, bool last);
  void take_trailers(Str trailers);
  // The host has answered by itself, with a head of `size` bytes; it is asked for when somebody
  // wants to see it.
  void take_end(int status, size_t size, int64_t sent, bool gone);
  void need_head();

  // --- Connection ---
  char* append(char* p, char* end) const override;
  ssize_t recv(void* buf, size_t n) override;
  void give_back(Str bytes) override;
  ssize_t peek() override;
  int io_error() const override { return 0; }
  Str preread(size_t* room) const override {
    *room = 0;
    return {};
  }
  Chain* send(Chain* in, int64_t limit) override;
  bool flush() override { return true; }
  void want_read(bool on) override;
  void want_write(bool on) override;
  bool pass_on(Request* r) override;
  const sockaddr* local_address() override;
  void finish(Request* r) override { end(r, 0); }
  void abandon(Request* r, int rc) override { end(r, rc); }
  ~HostedConnection() override;

  size_t head_size = 0;  // of what the header filter has made

 private:
  HostedConnection() = default;
  int read_head(const HostedRequest& from);
  int add_headers(Str lines);
  void take_addresses(const HostedPeer& from);
  void room_for(size_t n);
  void call_reader();
  void call_writer();
  void run_posted();
  void on_read_timeout();
  void on_write_timeout();
  void on_event();
  void end(Request* r, int rc);
  void put_headers(Str lines);
  bool in_time(int rc);
  static void passed_reader(Request* r);
  static void passed_writer(Request* r);
  void free_answer(bool all);

  Host* host_ = nullptr;
  uint32_t id_ = 0;
  RequestSlot* slot_ = nullptr;
  Pool* const pool_ = Pool::of_thread();
  bool reading_ = false, writing_ = false;  // want_read, want_write
  bool writable_ = true;
  bool gone_ = false, over_ = false, last_sent_ = false;
  bool stream_ = false, passes_on_ = false, passed_ = false;
  bool framed_ = false;      // the body reader expects chunks
  bool input_end_ = false;   // no more of the body
  bool input_used_ = false;  // somebody has read of it
  Str method_, uri_, args_;  // as they came
  net::Posted event_{};
  // Bytes of the host's answer until the filters have let go of them.
  struct Held {
    Buf buf;
    Held* next;
  };
  Held* answer_ = nullptr;
  bool answering_ = false, answer_over_ = false;
  bool head_due_ = false;  // take_end has a head that nobody has asked for
  char addr_buf_[64] = {};
};

// Takes "name\nvalue\n" off the front; false: nothing is left.
struct HeaderLine {
  Str name, value;
};
bool next_header_line(Str* lines, HeaderLine* line);
// The end of the header filters for such an answer (filter_header.cc calls it).
int hosted_header(Request* r, Str status, Str location_base);

}  // namespace moonphase::http
