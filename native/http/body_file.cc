// Bodies in temporary files.
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>

#include "http/body.h"
#include "http/connection.h"

namespace moonphase::http {

namespace {

std::atomic<uint32_t> s_number{0};

struct Made {
  File* file;
  bool remove;
};

void close_file(void* p) {
  auto* m = static_cast<Made*>(p);
  if (m->remove) unlink(m->file->name.data());
  if (m->file->fd >= 0) close(m->file->fd);
  m->file->fd = -1;
}

bool make_dir(Str dir) {
  char path[4096];
  if (dir.size() >= sizeof path) return false;
  std::memcpy(path, dir.data(), dir.size());
  path[dir.size()] = 0;
  for (char* p = path + 1; *p; ++p) {
    if (*p != '/') continue;
    *p = 0;
    mkdir(path, 0755);
    *p = '/';
  }
  return mkdir(path, 0700) == 0 || errno == EEXIST;
}

bool write_all(int fd, const char* p, size_t n, off_t at) {
  while (n) {
    ssize_t w = pwrite(fd, p, n, at);
    if (w < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    p += w;
    n -= static_cast<size_t>(w);
    at += w;
  }
  return true;
}

}  // namespace

File* temp_file(Request* r, Str dir, bool persistent, bool clean) {
  while (dir.size() > 1 && dir.back() == '/') dir.remove_suffix(1);
  const Log& log = r->conn->log;
  uint32_t number = ++s_number;
  bool made_dir = false;
  for (;;) {
    char text[16];
    std::snprintf(text, sizeof text, "/%010u", number);
    Str name = r->pool->join({dir, text, Str("\0", 1)});
    name.remove_suffix(1);
    int flags = O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC;
    int fd = open(name.data(), flags, r->request_body_file_group_access ? 0660 : 0600);
    if (fd >= 0) {
      if (!persistent) unlink(name.data());
      auto* f = r->pool->make<File>();
      f->fd = fd;
      f->name = name;
      f->cleanup = r->pool->on_destroy(close_file, r->pool->make<Made>(f, persistent && clean));
      return f;
    }
    if (errno == EEXIST) {
      // Another process, or an earlier one: numbers far away are likelier to be free.
      number += 123456u + static_cast<uint32_t>(getpid());
      s_number = number;
      continue;
    }
    if (errno == ENOENT && !made_dir && make_dir(dir)) {
      made_dir = true;
      continue;
    }
    log_write(log, r->conn, kLogCrit, errno, "open() \"%.*s\" failed", STR(name));
    return nullptr;
  }
}

int write_body_file(Request* r) {
  Body* body = r->body;
  Connection* c = r->conn;
  if (!body->temp_file) {
    File* f = temp_file(r, r->loc->client_body_temp_path, r->request_body_in_persistent_file,
                        r->request_body_in_clean_file);
    if (!f) return kError;
    body->temp_file = f;
    bool empty = true;
    for (Chain* i = body->bufs; i; i = i->next) empty = empty && i->buf->size() == 0;
    if (!empty)
      log_write(c->log, c, r->request_body_file_log_level, 0,
                "a client request body is buffered to a temporary file %.*s", STR(f->name));
  }
  File* f = body->temp_file;
  for (Chain* i = body->bufs; i; i = i->next) {
    Buf* b = i->buf;
    if (!b->in_memory()) continue;
    auto n = static_cast<size_t>(b->last - b->pos);
    if (!write_all(f->fd, b->pos, n, f->offset)) {
      log_write(c->log, c, kLogCrit, errno, "pwrite() \"%.*s\" failed", STR(f->name));
      return kError;
    }
    f->offset += static_cast<off_t>(n);
    b->pos = b->last;
  }
  body->bufs = nullptr;
  return kOk;
}

}  // namespace moonphase::http
