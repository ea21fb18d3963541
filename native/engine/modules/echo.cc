// The content handler: runs the commands of a location in order.
#include "engine/modules/echo.h"

#include <unistd.h>

#include "engine/lifecycle.h"
#include "engine/modules/echo_ctx.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "http/body.h"
#include "http/output.h"

namespace moonphase::engine {

using namespace echo;

// --- configuration ---

namespace {

struct DirectiveRow {
  Str name;
  EchoCommand::Op op;
};
constexpr DirectiveRow kDirectives[] = {
    {"echo", EchoCommand::kEcho},
    {"echo_before_body", EchoCommand::kEcho},
    {"echo_after_body", EchoCommand::kEcho},
    {"echo_request_body", EchoCommand::kRequestBody},
    {"echo_sleep", EchoCommand::kSleep},
    {"echo_flush", EchoCommand::kFlush},
    {"echo_blocking_sleep", EchoCommand::kBlockingSleep},
    {"echo_reset_timer", EchoCommand::kResetTimer},
    {"echo_location_async", EchoCommand::kLocationAsync},
    {"echo_location", EchoCommand::kLocation},
    {"echo_subrequest_async", EchoCommand::kSubrequestAsync},
    {"echo_subrequest", EchoCommand::kSubrequest},
    {"echo_duplicate", EchoCommand::kDuplicate},
    {"echo_read_request_body", EchoCommand::kReadRequestBody},
    {"echo_foreach_split", EchoCommand::kForeachSplit},
    {"echo_end", EchoCommand::kEnd},
    {"echo_abort_parent", EchoCommand::kAbortParent},
    {"echo_exec", EchoCommand::kExec},
};

bool is_output(EchoCommand::Op op) {
  return op == EchoCommand::kEcho || op == EchoCommand::kRequestBody || op == EchoCommand::kFlush ||
         op == EchoCommand::kDuplicate || op == EchoCommand::kSync;
}

bool is_subrequest(EchoCommand::Op op) {
  return op == EchoCommand::kLocation || op == EchoCommand::kLocationAsync ||
         op == EchoCommand::kSubrequest || op == EchoCommand::kSubrequestAsync;
}

bool has_output(const EchoProgram& program) {
  for (const EchoCommand& command : program)
    if (is_output(command.op)) return true;
  return false;
}

// Words in front that begin with '-' and have no variables are options; "--" ends them. Only the
// first one counts.
void take_options(EchoCommand* command, std::vector<Complex>&& args) {
  size_t i = 0;
  bool first = true;
  for (; i < args.size(); ++i) {
    const std::string& text = args[i].text;
    if (!args[i].literal() || text.size() < 2 || text[0] != '-') break;
    if (text[1] == '-') {
      ++i;
      break;
    }
    if (first && text == "-n") command->newline = false;
    first = false;
  }
  command->args.assign(std::make_move_iterator(args.begin() + static_cast<ptrdiff_t>(i)),
                       std::make_move_iterator(args.end()));
}

}  // namespace

bool add_echo_command(EchoProgram* program, Str directive, std::vector<Complex> args) {
  for (const DirectiveRow& row : kDirectives) {
    if (row.name != directive) continue;
    if (is_subrequest(row.op) && !has_output(*program))
      program->emplace_back().op = EchoCommand::kSync;
    EchoCommand& command = program->emplace_back();
    command.op = row.op;
    take_options(&command, std::move(args));
    return true;
  }
  return false;
}

// --- state ---

namespace echo {

Ctx* make_ctx(Request* r) {
  auto* ctx = r->pool->make<Ctx>();
  ctx->r = r;
  return ctx;
}

const EchoConf* conf_of(const Request* r) {
  return static_cast<const EchoConf*>(loc(r)->module[kModEcho].get());
}

Args evaluate(Request* r, const EchoCommand& command) {
  Args args;
  args.count = command.args.size();
  args.values = r->pool->array<Str>(args.count);
  for (size_t i = 0; i < args.count; ++i) args.values[i] = eval(r, command.args[i]);
  return args;
}

}  // namespace echo

// --- commands that wait, or jump ---

namespace {

bool failed(int rc) { return rc == kError || rc >= 300; }

// Seconds with up to three decimals in ms; -1: not such a number.
int64_t parse_seconds(Str s) {
  int64_t value = 0;
  int decimals = 3;
  bool dot = false;
  if (s.empty()) return -1;
  for (char c : s) {
    if (decimals == 0) return -1;
    if (c == '.' && !dot) {
      dot = true;
      continue;
    }
    if (c < '0' || c > '9' || value > INT64_MAX / 100000) return -1;
    value = value * 10 + (c - '0');
    if (dot) --decimals;
  }
  while (decimals-- > 0) value *= 10;
  return value;
}

int64_t sleep_time(Request* r, const Args& args) {
  int64_t ms = parse_seconds(args[0]);
  if (ms < 0) MOONPHASE_LOG(r, kLogErr, 0, "invalid sleep duration \"%.*s\"", STR(args[0]));
  return ms;
}

void slept(void* data) {
  auto* ctx = static_cast<Ctx*>(data);
  Request* r = ctx->r;
  http::Connection* c = r->conn;
  if (c->destroyed) return;
  if (c->error) {
    finalize_request(r, kError);
    return;
  }
  c->current = r;
  MOONPHASE_LOG(r, kLogDebug, 0, "echo sleep event handler: \"%.*s?%.*s\"", STR(r->uri),
                STR(r->args));
  if (ctx_of(r) != ctx) return;
  ctx->waiting = false;
  ctx->done = true;
  resume(r);
}

int sleep_command(Request* r, Ctx* ctx, const Args& args) {
  int64_t ms = sleep_time(r, args);
  if (ms < 0) return 400;
  if (!ctx->timer.fn) {
    ctx->timer.fn = slept;
    ctx->timer.data = ctx;
    on_request_end(
        r, [](void* p) { net::current_loop()->clear_timer(&static_cast<Ctx*>(p)->timer); }, ctx);
  }
  net::current_loop()->set_timer(&ctx->timer, static_cast<uint64_t>(ms));
  return kAgain;
}

int blocking_sleep(Request* r, const Args& args) {
  int64_t ms = sleep_time(r, args);
  if (ms < 0) return 400;
  usleep(static_cast<useconds_t>(ms * 1000));
  return kOk;
}

int foreach_split(Request* r, Ctx* ctx, const EchoProgram& program, const Args& args) {
  if (ctx->loop) {
    MOONPHASE_LOG(r, kLogErr, 0, "Nested echo_foreach not supported yet.");
    return 500;
  }
  if (args.count < 2) {
    MOONPHASE_LOG(r, kLogErr, 0,
                  "echo_foreach should take at least two arguments. (if your delimiter starts with "
                  "\"-\", preceding "
                  "it with a \"--\".)");
    return 500;
  }
  Str delimiter = args[0], rest = args[1];
  auto* loop = r->pool->make<Foreach>();
  loop->command = ctx->next;
  loop->parts = r->pool->array<Str>(rest.size() / (delimiter.empty() ? 1 : delimiter.size()) + 1);
  while (!rest.empty()) {
    size_t at = delimiter.empty() ? Str::npos : rest.find(delimiter);
    Str part = rest.substr(0, at);
    if (!part.empty()) loop->parts[loop->count++] = part;
    if (at == Str::npos) break;
    rest.remove_prefix(at + delimiter.size());
  }
  ctx->loop = loop;
  if (loop->count == 0)
    while (ctx->next + 1 < program.size() && program[ctx->next + 1].op != EchoCommand::kEnd)
      ++ctx->next;
  return kOk;
}

int end_of_loop(Request* r, Ctx* ctx) {
  if (!ctx->loop) {
    MOONPHASE_LOG(r, kLogErr, 0,
                  "Found a echo_end that has no corresponding echo_foreach before it.");
    return kError;
  }
  if (++ctx->loop->index < ctx->loop->count)
    ctx->next = ctx->loop->command;
  else
    ctx->loop = nullptr;
  return kOk;
}

void body_read(Request* r) {
  Ctx* ctx = ctx_of(r);
  if (!ctx || !ctx->wait_body) return;
  ctx->wait_body = ctx->waiting = false;
  ctx->done = true;
  r->write_event_handler = resume;
  resume(r);
}

// kOk: it is there; kAgain: it will come.
int read_body(Request* r, Ctx* ctx) {
  ctx->wait_body = false;
  int rc = http::read_body(r, body_read);
  if (failed(rc)) return rc;
  --r->main->count;  // the handler that waits holds one of its own
  if (rc == kOk) return kOk;
  ctx->wait_body = true;
  return kAgain;
}

// Subrequests share the client's body, so that it is read before them.
bool lacks_body(const Request* r) { return !r->body && r->is_main() && !r->discard_body; }

int run_command(Request* r, Ctx* ctx, const EchoProgram& program, const EchoCommand& command) {
  Args args = evaluate(r, command);
  switch (command.op) {
    case EchoCommand::kSync:
      return sync(r, ctx);
    case EchoCommand::kEcho: {
      Chain* out = line(r, command, args);
      return out ? send(r, ctx, out) : int{kOk};
    }
    case EchoCommand::kRequestBody:
      return request_body(r, ctx);
    case EchoCommand::kSleep:
      return sleep_command(r, ctx, args);
    case EchoCommand::kFlush:
      return http::send_special(r, http::kSendFlush);
    case EchoCommand::kBlockingSleep:
      return blocking_sleep(r, args);
    case EchoCommand::kResetTimer:
      clock_update();
      ctx->timer_begin = now().wall_ms;
      return kOk;
    case EchoCommand::kLocationAsync:
    case EchoCommand::kLocation:
      return location(r, ctx, args, command.op == EchoCommand::kLocation);
    case EchoCommand::kSubrequestAsync:
    case EchoCommand::kSubrequest:
      return echo::subrequest(r, ctx, args, command.op == EchoCommand::kSubrequest);
    case EchoCommand::kDuplicate:
      return duplicate(r, ctx, args);
    case EchoCommand::kReadRequestBody:
      return read_body(r, ctx);
    case EchoCommand::kForeachSplit:
      return foreach_split(r, ctx, program, args);
    case EchoCommand::kEnd:
      return end_of_loop(r, ctx);
    case EchoCommand::kAbortParent:
      return kOk;  // never did anything
    case EchoCommand::kExec:
      return exec(r, args);
  }
  return 500;
}

// These end the run, whatever they answer.
bool ends_run(EchoCommand::Op op) {
  return op == EchoCommand::kSleep || op == EchoCommand::kLocation ||
         op == EchoCommand::kSubrequest || op == EchoCommand::kExec;
}

int run(Request* r) {
  const EchoConf* conf = conf_of(r);
  if (!conf || conf->commands.empty()) return kDeclined;
  const EchoProgram& program = conf->commands;
  Ctx* ctx = ctx_of(r);
  if (!ctx) r->ctx[kModEcho] = ctx = make_ctx(r);

  for (; ctx->next < program.size(); ++ctx->next) {
    const EchoCommand& command = program[ctx->next];
    if (is_subrequest(command.op) && lacks_body(r)) {
      --ctx->next;  // then this one again
      int rc = read_body(r, ctx);
      if (rc != kOk) return rc;
      continue;
    }
    if (is_subrequest(command.op) && r->output_held) {
      --ctx->next;
      ctx->wait_filter = true;
      r->write_event_handler = resume;
      return kAgain;
    }
    int rc = run_command(r, ctx, program, command);
    if (failed(rc) || ends_run(command.op)) return rc;
    if (ctx->wait_body) return kAgain;
  }

  int rc = send(r, ctx, nullptr);
  if (failed(rc)) return rc;
  if (!r->body && http::discard_body(r) != kOk) return kError;
  return kOk;
}

int handler(Request* r) {
  int rc = run(r);
  if (rc >= 300) return ctx_of(r) && r->header_sent ? int{kError} : rc;
  if (rc != kAgain) return rc;
  ++r->main->count;
  if (Ctx* ctx = ctx_of(r)) {
    ctx->waiting = true;
    ctx->done = false;
  }
  return kDone;
}

}  // namespace

namespace echo {

void resume(Request* r) {
  Ctx* ctx = ctx_of(r);
  if (!ctx) {
    finalize_request(r, kError);
    return;
  }
  if (ctx->wait_filter) {
    if (r->output_held) return;
    ctx->wait_filter = ctx->waiting = false;
    ctx->done = true;
  }
  if (ctx->waiting && !ctx->done) {
    http::Connection* c = r->conn;
    if (r != c->active || !r->postponed) return;
    if (r->postponed->request) {
      c->active = r->postponed->request;
      post_request(c->active);
    } else {
      http::output(r, nullptr);
    }
    return;
  }
  ctx->done = false;
  ++ctx->next;
  int rc = run(r);
  if (rc == kAgain) {
    ctx->waiting = true;
    ctx->done = false;
    return;
  }
  if (rc != kError && rc != kDone) {
    ctx->waiting = false;
    ctx->done = true;
  }
  finalize_request(r, rc);
}

}  // namespace echo

void register_echo() {
  set_content_handler(ContentKind::kEcho, handler);
  add_variables(kVariables);
  register_filters();
}

}  // namespace moonphase::engine
