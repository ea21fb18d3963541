// What lua-resty-core's ngx.pipe calls. Results that do not fit into its buffer stay here until it
// asks again with a larger one.
#include <cerrno>

#include "engine/phases.h"
#include "ngx/pipe.h"

using namespace moonphase;
using namespace moonphase::ngx;

namespace {

int put_error(const PipeSide& side, unsigned char* err, size_t* errlen) {
  switch (side.error) {
    case PipeError::kSystem:
      return ffi_error(err, errlen, "%s", strerror(side.system_error));
    case PipeError::kTimeout:
      return ffi_error(err, errlen, "timeout");
    case PipeError::kAborted:
      return ffi_error(err, errlen, "aborted");
    case PipeError::kClosed:
    case PipeError::kNone:
      break;
  }
  return ffi_error(err, errlen, "closed");
}

// The answer of a read that has ended.
int put_result(PipeReader& reader, unsigned char** buf, size_t* size, unsigned char* err,
               size_t* errlen) {
  Str data = reader.result();
  bool fits = data.size() <= *size;
  *size = data.size();
  bool ok = reader.error == PipeError::kNone;
  if (!ok) put_error(reader, err, errlen);
  if (fits) {
    put_bytes(reinterpret_cast<char*>(*buf), data);
    reader.taken();
  } else {
    *buf = nullptr;
  }
  return ok ? int{kOk} : int{kDeclined};
}

engine::Receiver::Mode mode_of(int reader_type) {
  constexpr engine::Receiver::Mode kModes[] = {
      engine::Receiver::Mode::kAll, engine::Receiver::Mode::kSize, engine::Receiver::Mode::kLine,
      engine::Receiver::Mode::kAny};
  return kModes[reader_type & 3];
}

}  // namespace

MOONPHASE_FFI int ngx_http_lua_ffi_pipe_spawn(Request* r, PipeProc* proc, const char* file,
                                              const char** argv, int merge_stderr,
                                              size_t buffer_size, const char** environ,
                                              unsigned char* err, size_t* errlen) {
  if (!r || !engine::ctx_of(r)) return ffi_error(err, errlen, "no request found");
  net::ChildSpec spec{file, argv, environ, merge_stderr != 0};
  return Pipe::spawn(r, proc, spec, buffer_size, err, errlen) ? kOk : kError;
}

MOONPHASE_FFI int ngx_http_lua_ffi_pipe_proc_read(Request* r, PipeProc* proc, int from_stderr,
                                                  int reader_type, size_t length,
                                                  unsigned char** buf, size_t* size,
                                                  unsigned char* err, size_t* errlen) {
  int rc = engine::check_ffi(r, engine::kCapPipe, reinterpret_cast<char*>(err), errlen);
  if (rc != kOk) return rc;
  MOONPHASE_LOG(r, kLogDebug, 0, "lua pipe read process:%" PTR " pid:%d", ptr(proc), proc->pid);
  Pipe* pipe = proc->pipe;
  if (!pipe || pipe->closed()) return ffi_error(err, errlen, "closed");
  if (from_stderr && pipe->merge_stderr()) return ffi_error(err, errlen, "merged to stdout");
  PipeReader& reader = pipe->reader(from_stderr);
  if (reader.busy()) return ffi_error(err, errlen, "pipe busy reading");
  if (!reader.open()) return ffi_error(err, errlen, "closed");
  if (reader.read(mode_of(reader_type), length) == kAgain) {
    reader.begin(engine::ctx_of(r),
                 from_stderr ? proc->stderr_read_timeout : proc->stdout_read_timeout, "read");
    return kAgain;
  }
  return put_result(reader, buf, size, err, errlen);
}

MOONPHASE_FFI int ngx_http_lua_ffi_pipe_get_read_result(Request* r, PipeProc* proc, int from_stderr,
                                                        unsigned char** buf, size_t* size,
                                                        unsigned char* err, size_t* errlen) {
  MOONPHASE_LOG(r, kLogDebug, 0, "lua pipe get read result process:%" PTR " pid:%d", ptr(proc),
                proc->pid);
  if (!proc->pipe) return ffi_error(err, errlen, "aborted");
  return put_result(proc->pipe->reader(from_stderr), buf, size, err, errlen);
}

MOONPHASE_FFI ssize_t ngx_http_lua_ffi_pipe_proc_write(Request* r, PipeProc* proc,
                                                       const unsigned char* data, size_t len,
                                                       unsigned char* err, size_t* errlen) {
  int rc = engine::check_ffi(r, engine::kCapPipe, reinterpret_cast<char*>(err), errlen);
  if (rc != kOk) return rc;
  MOONPHASE_LOG(r, kLogDebug, 0, "lua pipe write process:%" PTR " pid:%d", ptr(proc), proc->pid);
  Pipe* pipe = proc->pipe;
  if (!pipe || pipe->closed()) return ffi_error(err, errlen, "closed");
  PipeWriter& writer = pipe->writer();
  if (writer.busy()) return ffi_error(err, errlen, "pipe busy writing");
  if (!writer.open()) return ffi_error(err, errlen, "closed");
  if (writer.write(str(data, len)) == kAgain) {
    writer.begin(engine::ctx_of(r), proc->write_timeout, "write");
    return kAgain;
  }
  if (writer.error != PipeError::kNone) return put_error(writer, err, errlen);
  return static_cast<ssize_t>(len);
}

MOONPHASE_FFI ssize_t ngx_http_lua_ffi_pipe_get_write_result(Request* r, PipeProc* proc,
                                                             unsigned char* err, size_t* errlen) {
  MOONPHASE_LOG(r, kLogDebug, 0, "lua pipe get write result process:%" PTR " pid:%d", ptr(proc),
                proc->pid);
  if (!proc->pipe) return ffi_error(err, errlen, "aborted");
  PipeWriter& writer = proc->pipe->writer();
  if (writer.error != PipeError::kNone) return put_error(writer, err, errlen);
  return static_cast<ssize_t>(writer.length());
}

MOONPHASE_FFI int ngx_http_lua_ffi_pipe_proc_shutdown_stdin(PipeProc* proc, unsigned char* err,
                                                            size_t* errlen) {
  Pipe* pipe = proc->pipe;
  if (!pipe || pipe->closed()) return ffi_error(err, errlen, "closed");
  pipe->writer().close(pipe->dead() ? PipeError::kClosed : PipeError::kAborted);
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_pipe_proc_shutdown_stdout(PipeProc* proc, unsigned char* err,
                                                             size_t* errlen) {
  Pipe* pipe = proc->pipe;
  if (!pipe || pipe->closed()) return ffi_error(err, errlen, "closed");
  pipe->reader(false).close(pipe->dead() ? PipeError::kClosed : PipeError::kAborted);
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_pipe_proc_shutdown_stderr(PipeProc* proc, unsigned char* err,
                                                             size_t* errlen) {
  Pipe* pipe = proc->pipe;
  if (!pipe || pipe->closed()) return ffi_error(err, errlen, "closed");
  if (pipe->merge_stderr()) return ffi_error(err, errlen, "merged to stdout");
  pipe->reader(true).close(pipe->dead() ? PipeError::kClosed : PipeError::kAborted);
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_pipe_proc_wait(Request* r, PipeProc* proc, char** reason,
                                                  int* status, unsigned char* err, size_t* errlen) {
  int rc = engine::check_ffi(r, engine::kCapPipe, reinterpret_cast<char*>(err), errlen);
  if (rc != kOk) return rc;
  MOONPHASE_LOG(r, kLogDebug, 0, "lua pipe wait process:%" PTR " pid:%d", ptr(proc), proc->pid);
  Pipe* pipe = proc->pipe;
  if (!pipe || pipe->closed()) return ffi_error(err, errlen, "exited");
  if (pipe->wait().busy()) return ffi_error(err, errlen, "pipe busy waiting");
  if (!pipe->dead()) {
    pipe->wait().begin(engine::ctx_of(r), proc->wait_timeout, "wait");
    return kAgain;
  }
  *reason = const_cast<char*>(pipe->reason(status));
  pipe->close();
  return *status == 0 ? kOk : kDeclined;
}

MOONPHASE_FFI int ngx_http_lua_ffi_pipe_proc_kill(PipeProc* proc, int signal, unsigned char* err,
                                                  size_t* errlen) {
  Pipe* pipe = proc->pipe;
  if (!pipe || pipe->dead()) return ffi_error(err, errlen, "exited");
  switch (int e = pipe->child().kill(signal)) {
    case 0:
      return kOk;
    case EINVAL:
      return ffi_error(err, errlen, "invalid signal");
    case ESRCH:
      return ffi_error(err, errlen, "exited");
    default:
      return ffi_error(err, errlen, "%s", strerror(e));
  }
}

MOONPHASE_FFI void ngx_http_lua_ffi_pipe_proc_destroy(PipeProc* proc) {
  if (proc->pipe) proc->pipe->destroy();
}
