// Handlers of the access, precontent and content phases that are nginx's own.
#pragma once

#include "http/request.h"

namespace moonphase::engine {

using http::Request;

int access_handler(Request* r);      // allow, deny
int auth_basic_handler(Request* r);  // auth_basic
int try_files_handler(Request* r);
int index_handler(Request* r);
int static_handler(Request* r);
int gzip_static_handler(Request* r);
void register_empty_gif();

// Header and body of an open file; headers_out is filled in. `name` is for log lines.
struct FileInfo;  // engine/path.h
int send_file(Request* r, const FileInfo& info, Str name);

// ngx_crypt: `stored` is an entry of a password file ({PLAIN}, {SHA}, {SSHA}, $apr1$ or what
// crypt(3) knows). kOk: it matches; kDeclined: not; kError: cannot be computed.
int check_password(Request* r, Str password, Str stored);

// Plain base64, with or without its padding. Empty: it is none.
Str decode_base64(Arena& a, Str s);

}  // namespace moonphase::engine
