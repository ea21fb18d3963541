// Status lines and the built-in pages that go with them.
#include "http/connection.h"
#include "http/output.h"

namespace moonphase::http {

namespace {

struct Entry {
  int status;
  Str line;   // what nginx puts in the status line; "" where it writes the number alone
  Str title;  // of the built-in page; "" where there is none
};

// Sorted by status.
constexpr Entry kEntries[] = {
    {200, "200 OK", ""},
    {201, "201 Created", ""},
    {202, "202 Accepted", ""},
    {204, "204 No Content", ""},
    {206, "206 Partial Content", ""},
    {301, "301 Moved Permanently", "301 Moved Permanently"},
    {302, "302 Moved Temporarily", "302 Found"},
    {303, "303 See Other", "303 See Other"},
    {304, "304 Not Modified", ""},
    {307, "307 Temporary Redirect", "307 Temporary Redirect"},
    {308, "308 Permanent Redirect", "308 Permanent Redirect"},
    {400, "400 Bad Request", "400 Bad Request"},
    {401, "401 Unauthorized", "401 Authorization Required"},
    {402, "402 Payment Required", "402 Payment Required"},
    {403, "403 Forbidden", "403 Forbidden"},
    {404, "404 Not Found", "404 Not Found"},
    {405, "405 Not Allowed", "405 Not Allowed"},
    {406, "406 Not Acceptable", "406 Not Acceptable"},
    {407, "407 Proxy Authentication Required", "407 Proxy Authentication Required"},
    {408, "408 Request Time-out", "408 Request Time-out"},
    {409, "409 Conflict", "409 Conflict"},
    {410, "410 Gone", "410 Gone"},
    {411, "411 Length Required", "411 Length Required"},
    {412, "412 Precondition Failed", "412 Precondition Failed"},
    {413, "413 Request Entity Too Large", "413 Request Entity Too Large"},
    {414, "414 Request-URI Too Large", "414 Request-URI Too Large"},
    {415, "415 Unsupported Media Type", "415 Unsupported Media Type"},
    {416, "416 Requested Range Not Satisfiable", "416 Requested Range Not Satisfiable"},
    {421, "421 Misdirected Request", "421 Misdirected Request"},
    {429, "429 Too Many Requests", "429 Too Many Requests"},
    {494, "", "400 Request Header Or Cookie Too Large"},
    {495, "", "400 The SSL certificate error"},
    {496, "", "400 No required SSL certificate was sent"},
    {497, "", "400 The plain HTTP request was sent to HTTPS port"},
    {498, "", "404 Not Found"},
    {500, "500 Internal Server Error", "500 Internal Server Error"},
    {501, "501 Not Implemented", "501 Not Implemented"},
    {502, "502 Bad Gateway", "502 Bad Gateway"},
    {503, "503 Service Temporarily Unavailable", "503 Service Temporarily Unavailable"},
    {504, "504 Gateway Time-out", "504 Gateway Time-out"},
    {505, "505 HTTP Version Not Supported", "505 HTTP Version Not Supported"},
    {507, "507 Insufficient Storage", "507 Insufficient Storage"},
};

const Entry* find(int status) {
  if (status == 200) return &kEntries[0];
  for (const Entry& e : kEntries)
    if (e.status == status) return &e;
  return nullptr;
}

// The pages are made once per process, from their titles.
struct Pages {
  std::string text[sizeof kEntries / sizeof kEntries[0]];
  Pages() {
    for (size_t i = 0; i < sizeof kEntries / sizeof kEntries[0]; ++i) {
      const Entry& e = kEntries[i];
      if (e.title.empty()) continue;
      std::string title(e.title), heading = title, extra;
      if (e.status >= 494 && e.status <= 497) {
        heading = "400 Bad Request";
        extra = "<center>" + title.substr(4) + "</center>\r\n";
      }
      text[i] = "<html>\r\n<head><title>" + title + "</title></head>\r\n<body>\r\n<center><h1>" +
                heading + "</h1></center>\r\n" + extra;
    }
  }
};

}  // namespace

Str status_line(int status) {
  const Entry* e = find(status);
  return e ? e->line : Str();
}

Str special_page(int status) {
  static const Pages pages;
  const Entry* e = find(status);
  return e ? Str(pages.text[e - kEntries]) : Str();
}

Str server_token(const Request* r) {
  const HttpServer* s = r->conn->server;
  if (s->embedded) return Str();
  if (r->loc->server_tokens == CoreConf::kTokensOff) return "nginx";
  return s->server_version;
}

Str special_tail(const Request* r) {
  Str token = server_token(r);
  if (token.empty()) return "</body>\r\n</html>\r\n";
  return r->pool->join({"<hr><center>", token, "</center>\r\n</body>\r\n</html>\r\n"});
}

Str msie_padding() {
#define PADDING "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n"
  return PADDING PADDING PADDING PADDING PADDING PADDING;
#undef PADDING
}

}  // namespace moonphase::http
