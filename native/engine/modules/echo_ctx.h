// What the parts of the echo module share: a request's state, and the commands.
#pragma once

#include "engine/modules/echo.h"
#include "engine/variables/variables.h"
#include "http/request.h"
#include "net/loop.h"

namespace moonphase::engine::echo {

// echo_foreach_split: the parts, and which of them is $echo_it.
struct Foreach {
  Str* parts = nullptr;
  size_t count = 0, index = 0;
  size_t command = 0;  // where the loop stands
};

struct Ctx {
  Request* r = nullptr;
  size_t next = 0;  // the command to run; may be one less than 0 before a repetition
  bool header_sent = false;
  bool waiting = false, done = false;  // for a subrequest, a timer or the client's body
  bool wait_body = false;
  bool wait_filter = false;  // what the parent has sent comes before a subrequest's output
  bool post_subrequest_run = false;
  bool skip_filter = false, before_body_sent = false;
  int64_t timer_begin = 0;  // wall clock, ms; 0: the request's start
  uint64_t counter = 0;     // $echo_incr
  Foreach* loop = nullptr;
  net::Timer timer;
};

inline Ctx* ctx_of(const Request* r) { return static_cast<Ctx*>(r->ctx[kModEcho]); }
Ctx* make_ctx(Request* r);
const EchoConf* conf_of(const Request* r);  // null: no echo here

// Evaluated arguments; those that are missing are empty.
struct Args {
  Str* values = nullptr;
  size_t count = 0;
  Str operator[](size_t i) const { return i < count ? values[i] : Str(); }
};
Args evaluate(Request* r, const EchoCommand& command);

// --- output (echo_output.cc) ---
int send_header(Request* r, Ctx* ctx);
int send(Request* r, Ctx* ctx, Chain* in);  // null: the end
// The line of an `echo`; null: it is empty.
Chain* line(Request* r, const EchoCommand& command, const Args& args);
int duplicate(Request* r, Ctx* ctx, const Args& args);
int request_body(Request* r, Ctx* ctx);
int sync(Request* r, Ctx* ctx);

// --- subrequests (echo_subrequest.cc) ---
// kOk; kAgain where the command waits for the subrequest; an error.
int location(Request* r, Ctx* ctx, const Args& args, bool wait);
int subrequest(Request* r, Ctx* ctx, const Args& args, bool wait);
int exec(Request* r, const Args& args);

// --- commands (echo.cc) ---
// Goes on behind the command that has waited; write_event_handler meanwhile.
void resume(Request* r);

// --- filters and variables ---
void register_filters();                // echo_filter.cc
extern const VariableDef kVariables[];  // echo_variables.cc

}  // namespace moonphase::engine::echo
