// A load client that keeps a server saturated: it never sleeps, so that its wake-ups are not billed to the server.
//   load HOST PORT CONNECTIONS REQUESTS PIPELINE [BACKEND] < request
// Sends the request on standard input over keep-alive connections, PIPELINE at a time, until REQUESTS answers have come.
// With BACKEND, a port, it is also what a gateway passes requests on to (backend.h). Answers need a Content-Length or chunks
// that end in one read's tail. Prints: answers, errors, seconds.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "backend.h"

namespace {

struct Client {
  int fd = -1;
  int outstanding = 0;
  std::string in;
};

// Length of the first complete answer in `s`; 0: not yet; npos: not HTTP.
size_t answer_length(std::string_view s) {
  const size_t head = s.find("\r\n\r\n");
  if (head == s.npos) return 0;
  if (s.compare(0, 9, "HTTP/1.1 ") != 0) return s.npos;
  const std::string_view headers = s.substr(0, head + 2);
  for (const char* name : {"\r\nContent-Length: ", "\r\ncontent-length: "}) {
    const size_t at = headers.find(name);
    if (at == headers.npos) continue;
    const size_t total = head + 4 + std::strtoul(headers.data() + at + std::strlen(name), nullptr, 10);
    return s.size() >= total ? total : 0;
  }
  size_t at = head + 4;  // chunks
  while (true) {
    const size_t eol = s.find("\r\n", at);
    if (eol == s.npos) return 0;
    const size_t size = std::strtoul(s.data() + at, nullptr, 16);
    at = eol + 2 + size + 2;
    if (at > s.size()) return 0;
    if (size == 0) return at;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6 && argc != 7) {
    std::fprintf(stderr, "usage: load HOST PORT CONNECTIONS REQUESTS PIPELINE [BACKEND] < request\n");
    return 2;
  }
  sockaddr_in addr{};
  addr.sin_family = AF_INET;
  addr.sin_port = htons(static_cast<uint16_t>(std::atoi(argv[2])));
  inet_pton(AF_INET, argv[1], &addr.sin_addr);
  const size_t connections = std::strtoul(argv[3], nullptr, 10);
  const long wanted = std::atol(argv[4]);
  const int pipeline = std::atoi(argv[5]);

  std::string request;
  char buf[65536];
  for (ssize_t n; (n = read(0, buf, sizeof buf)) > 0;) request.append(buf, static_cast<size_t>(n));
  std::string batch;
  for (int i = 0; i < pipeline; ++i) batch += request;

  const int ep = epoll_create1(0);
  Backend backend;
  if (argc == 7) backend.open(ep, std::atoi(argv[6]));
  std::vector<Client> clients(connections);
  long sent = 0, answers = 0, errors = 0;
  auto send_batch = [&](Client& c) {
    if (sent >= wanted) return;
    if (write(c.fd, batch.data(), batch.size()) != static_cast<ssize_t>(batch.size())) ++errors;
    c.outstanding += pipeline;
    sent += pipeline;
  };
  auto open_one = [&](Client& c) {
    c.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c.fd, reinterpret_cast<sockaddr*>(&addr), sizeof addr) != 0) {
      std::perror("connect");
      std::exit(1);
    }
    const int on = 1;
    setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c.fd, F_SETFL, O_NONBLOCK);
    epoll_event ev{};
    ev.events = EPOLLIN;
    ev.data.ptr = &c;
    epoll_ctl(ep, EPOLL_CTL_ADD, c.fd, &ev);
    c.in.clear();
    c.outstanding = 0;
    send_batch(c);
  };
  const auto start = std::chrono::steady_clock::now();
  for (Client& c : clients) open_one(c);
  epoll_event events[256];
  while (answers < wanted && errors < 1000) {
    const int n = epoll_wait(ep, events, 256, 0);
    for (int i = 0; i < n; ++i) {
      if (!events[i].data.ptr) {
        backend.accept_all(ep);
        continue;
      }
      if (events[i].data.u64 & 1) {
        backend.serve(*reinterpret_cast<Backend::Connection*>(events[i].data.u64 & ~uint64_t{1}));
        continue;
      }
      Client& c = *static_cast<Client*>(events[i].data.ptr);
      const ssize_t got = read(c.fd, buf, sizeof buf);
      if (got <= 0) {
        if (got < 0 && errno == EAGAIN) continue;
        errors += c.outstanding;  // nginx closes after keepalive_requests: outstanding is 0 then
        sent -= c.outstanding;
        close(c.fd);
        open_one(c);
        continue;
      }
      c.in.append(buf, static_cast<size_t>(got));
      std::string_view rest = c.in;
      while (const size_t len = answer_length(rest)) {
        if (len == rest.npos) {
          std::fprintf(stderr, "not an HTTP answer: %.60s\n", rest.data());
          return 1;
        }
        if (rest.compare(9, 3, "200") != 0) ++errors;
        rest.remove_prefix(len);
        ++answers;
        --c.outstanding;
      }
      c.in.erase(0, c.in.size() - rest.size());
      if (c.outstanding == 0) send_batch(c);
    }
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%ld %ld %.6f\n", answers, errors, seconds);
  return errors ? 1 : 0;
}
