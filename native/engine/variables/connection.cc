// Variables of the connection: its addresses, its server, TCP's figures.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include "engine/runtime.h"
#include "engine/variables/core.h"

namespace moonphase::engine {

namespace {

int port_of(const sockaddr* sa) {
  switch (sa->sa_family) {
    case AF_INET:
      return ntohs(reinterpret_cast<const sockaddr_in*>(sa)->sin_port);
    case AF_INET6:
      return ntohs(reinterpret_cast<const sockaddr_in6*>(sa)->sin6_port);
    default:
      return 0;
  }
}

const sockaddr* peer(const Request* r) { return reinterpret_cast<const sockaddr*>(&r->conn->peer); }

int found_port(Request* r, VarValue* v, const sockaddr* sa) {
  int port = port_of(sa);
  return port ? found_number(r, v, port) : found(v, "");
}

int binary_remote_addr(Request* r, VarValue* v, Str, uintptr_t) {
  const sockaddr* sa = peer(r);
  switch (sa->sa_family) {
    case AF_INET6:
      return found(
          v, {reinterpret_cast<const char*>(&reinterpret_cast<const sockaddr_in6*>(sa)->sin6_addr),
              16});
    case AF_UNIX:
      return found(v, r->conn->addr_text);
    default:
      return found(
          v,
          {reinterpret_cast<const char*>(&reinterpret_cast<const sockaddr_in*>(sa)->sin_addr), 4});
  }
}

int remote_addr(Request* r, VarValue* v, Str, uintptr_t) { return found(v, r->conn->addr_text); }
int remote_port(Request* r, VarValue* v, Str, uintptr_t) { return found_port(r, v, peer(r)); }

int server_addr(Request* r, VarValue* v, Str, uintptr_t) {
  const sockaddr* sa = r->conn->local_address();
  if (!sa) return kError;
  if (sa->sa_family == AF_UNIX) {
    Str path = reinterpret_cast<const sockaddr_un*>(sa)->sun_path;
    return found(v, r->pool->join({"unix:", path}));
  }
  char buf[INET6_ADDRSTRLEN];
  const void* address =
      sa->sa_family == AF_INET6
          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in6*>(sa)->sin6_addr)
          : &reinterpret_cast<const sockaddr_in*>(sa)->sin_addr;
  if (!inet_ntop(sa->sa_family, address, buf, sizeof buf)) return kError;
  return found(v, r->pool->copy(buf));
}
int server_port(Request* r, VarValue* v, Str, uintptr_t) {
  const sockaddr* sa = r->conn->local_address();
  return sa ? found_port(r, v, sa) : int{kError};
}

Str name_of(const Request* r) {
  return r->srv->names.empty() ? Str("") : Str(r->srv->names[0].name);
}
int server_name(Request* r, VarValue* v, Str, uintptr_t) { return found(v, name_of(r)); }
int host(Request* r, VarValue* v, Str, uintptr_t) {
  return found(v, r->headers_in.server.empty() ? name_of(r) : r->headers_in.server);
}
int scheme(Request* r, VarValue* v, Str, uintptr_t) {
  return found(v, r->conn->ssl ? "https" : "http");
}
int https(Request* r, VarValue* v, Str, uintptr_t) { return found(v, r->conn->ssl ? "on" : ""); }
// Not there before the connection speaks another protocol, or a later module fills it.
int nothing(Request*, VarValue* v, Str, uintptr_t) { return not_found(v); }

int http2(Request* r, VarValue* v, Str, uintptr_t) {
  if (r->main->http_version != http::kVersion20) return found(v, "");
  return found(v, r->conn->ssl ? "h2" : "h2c");
}

int connection(Request* r, VarValue* v, Str, uintptr_t) {
  return found_number(r, v, static_cast<int64_t>(r->conn->LogContext::connection));
}
int connection_requests(Request* r, VarValue* v, Str, uintptr_t) {
  return found_number(r, v, static_cast<int64_t>(r->conn->requests));
}

int tcpinfo(Request* r, VarValue* v, Str, uintptr_t which) {
  tcp_info info{};
  socklen_t len = sizeof info;
  if (!r->conn->stream ||
      getsockopt(r->conn->stream->fd(), IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
    return not_found(v);
  uint32_t values[] = {info.tcpi_rtt, info.tcpi_rttvar, info.tcpi_snd_cwnd, info.tcpi_rcv_space};
  return found_number(r, v, values[which]);
}

enum { kSource, kDestination };
int proxy_addr(Request* r, VarValue* v, Str, uintptr_t which) {
  const http::ProxyProtocol* proxy = r->conn->proxy_protocol.get();
  if (!proxy) return not_found(v);
  return found(v, which == kSource ? proxy->source : proxy->destination);
}
int proxy_port(Request* r, VarValue* v, Str, uintptr_t which) {
  const http::ProxyProtocol* proxy = r->conn->proxy_protocol.get();
  if (!proxy) return not_found(v);
  int port = which == kSource ? proxy->source_port : proxy->destination_port;
  return port ? found_number(r, v, port) : found(v, "");
}
int proxy_tlv(Request* r, VarValue* v, Str rest, uintptr_t) {
  const http::ProxyProtocol* proxy = r->conn->proxy_protocol.get();
  std::string value;
  if (!proxy || !proxy->tlv(rest, r->conn->log, r->conn, &value)) return not_found(v);
  return found(v, r->pool->copy(value));
}

}  // namespace

// Names that a configuration may mention; the modules that compute them replace these rows
// (add_variables).
const VariableDef kLaterVariables[] = {
    {"proxy_host", nothing, nullptr, 0, kVarChangeable | kVarNoCacheable},
    {"proxy_port", nothing, nullptr, 0, kVarChangeable | kVarNoCacheable},
    {"proxy_add_via", nothing, nullptr, 0, 0},
    {"date_local", nothing, nullptr, 0, kVarNoCacheable},
    {"date_gmt", nothing, nullptr, 0, kVarNoCacheable},
    {"echo_", nothing, nullptr, 0, kVarPrefix | kVarNoCacheable},
    {nullptr, nullptr, nullptr, 0, 0},
};

const VariableDef kConnectionVariables[] = {
    {"binary_remote_addr", binary_remote_addr, nullptr, 0, 0},
    {"remote_addr", remote_addr, nullptr, 0, 0},
    {"remote_port", remote_port, nullptr, 0, 0},
    {"proxy_protocol_addr", proxy_addr, nullptr, kSource, 0},
    {"proxy_protocol_port", proxy_port, nullptr, kSource, 0},
    {"proxy_protocol_server_addr", proxy_addr, nullptr, kDestination, 0},
    {"proxy_protocol_server_port", proxy_port, nullptr, kDestination, 0},
    {"proxy_protocol_tlv_", proxy_tlv, nullptr, 0, kVarPrefix},
    {"server_addr", server_addr, nullptr, 0, 0},
    {"server_port", server_port, nullptr, 0, 0},
    {"server_name", server_name, nullptr, 0, 0},
    {"host", host, nullptr, 0, 0},
    {"scheme", scheme, nullptr, 0, 0},
    {"https", https, nullptr, 0, 0},
    {"http2", http2, nullptr, 0, 0},
    {"http3", nothing, nullptr, 0, 0},
    {"ssl_", nothing, nullptr, 0, kVarPrefix},
    {"connection", connection, nullptr, 0, 0},
    {"connection_requests", connection_requests, nullptr, 0, 0},
    {"tcpinfo_rtt", tcpinfo, nullptr, 0, kVarNoCacheable},
    {"tcpinfo_rttvar", tcpinfo, nullptr, 1, kVarNoCacheable},
    {"tcpinfo_snd_cwnd", tcpinfo, nullptr, 2, kVarNoCacheable},
    {"tcpinfo_rcv_space", tcpinfo, nullptr, 3, kVarNoCacheable},
    {nullptr, nullptr, nullptr, 0, 0},
};

}  // namespace moonphase::engine
