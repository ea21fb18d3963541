// The other side of a gateway, in the load's own loop: what sleeps there would make the gateway pay for waking it.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

// What a gateway passes requests on to: a target that ends in a number and "k" gets so many KB, at once.
struct Backend {
  struct Connection {
    int fd = -1;
    std::string in;
    std::string_view left;  // of an answer that the socket did not take at once
  };
  int listener = -1;
  std::map<size_t, std::string> answers;  // by KB
  std::vector<std::unique_ptr<Connection>> connections;

  const std::string& answer(std::string_view head) {
    const size_t target = head.find(' ') + 1;
    const size_t end = head.find(' ', target);
    size_t digits = end - 1;
    while (digits > target && std::isdigit(static_cast<unsigned char>(head[digits - 1]))) --digits;
    const size_t kb = std::strtoul(head.data() + digits, nullptr, 10);
    std::string& text = answers[kb];
    if (text.empty())
      text = "HTTP/1.1 200 OK\r\nServer: load\r\nDate: Sat, 21 Nov 2026 23:30:00 GMT\r\nContent-Type: text/plain\r\n"
             "Content-Length: " + std::to_string(kb << 10) + "\r\nLast-Modified: Sat, 21 Nov 2026 20:00:00 GMT\r\n"
             "Connection: keep-alive\r\nETag: \"6920c1a0-400\"\r\nAccept-Ranges: bytes\r\n\r\n" +
             std::string(kb << 10, 'x');
    return text;
  }

  void open(int ep, int port) {
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in addr{};
    addr.sin_family = AF_INET;
    addr.sin_port = htons(static_cast<uint16_t>(port));
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, reinterpret_cast<sockaddr*>(&addr), sizeof addr) != 0 || listen(listener, 1024) != 0) {
      std::perror("backend");
      std::exit(1);
    }
    epoll_event ev{};
    ev.events = EPOLLIN;
    ev.data.ptr = nullptr;
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);
  }

  void accept_all(int ep) {
    for (int fd; (fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      connections.push_back(std::make_unique<Connection>());
      connections.back()->fd = fd;
      epoll_event ev{};
      ev.events = EPOLLIN | EPOLLOUT | EPOLLET;
      ev.data.u64 = reinterpret_cast<uint64_t>(connections.back().get()) | 1;
      epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
    }
  }

  void serve(Connection& c) {
    char buf[16384];
    while (true) {
      while (!c.left.empty()) {
        const ssize_t n = write(c.fd, c.left.data(), c.left.size());
        if (n < 0) return;
        c.left.remove_prefix(static_cast<size_t>(n));
      }
      size_t end = c.in.find("\r\n\r\n");
      if (end == c.in.npos) {
        const ssize_t n = read(c.fd, buf, sizeof buf);
        if (n <= 0) {
          if (n == 0 || errno != EAGAIN) {
            close(c.fd);
            c.fd = -1;
          }
          return;
        }
        c.in.append(buf, static_cast<size_t>(n));
        end = c.in.find("\r\n\r\n");
        if (end == c.in.npos) continue;
      }
      c.left = answer(c.in);
      c.in.erase(0, end + 4);
      const ssize_t n = write(c.fd, c.left.data(), c.left.size());
      if (n < 0) return;
      c.left.remove_prefix(static_cast<size_t>(n));
      if (c.left.empty() && c.in.empty()) return;  // there is more: another event
    }
  }
};
