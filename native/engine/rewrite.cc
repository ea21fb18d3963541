#include "engine/rewrite.h"

#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/locations.h"
#include "engine/path.h"
#include "engine/runtime.h"
#include "engine/set_filters.h"
#include "engine/variables/variables.h"
#include "http/output.h"
#include "http/uri.h"

namespace moonphase::engine {

namespace {

// What one run of a program carries along (ngx_http_script_engine_t).
struct Rewriting {
  Request* r;
  bool log;           // rewrite_log
  bool quote = true;  // captures are escaped where the URI was; until a `rewrite` has matched
  int status = kDeclined;
  // Where it stands: in the program, and in the block of an `if` of it (which holds no other one).
  struct Level {
    const RewriteProgram* program = nullptr;
    size_t at = 0;
  };
  Level levels[2] = {};
  int depth = 0;
};

constexpr bool kEnd = true;

#define REWRITE_NOTICE(run, ...) \
  if ((run).log) MOONPHASE_LOG((run).r, kLogNotice, 0, __VA_ARGS__)

Str value_in(Rewriting& run, const Complex& value) {
  return run.quote ? eval_quoted(run.r, value) : eval(run.r, value);
}

void assign(Request* r, int index, Str text) {
  const VariableSlot& slot = plan(r).variables[static_cast<size_t>(index)];
  if (slot.kind == VariableSlot::kBuiltin && slot.def->set) {
    VarValue v;
    found(&v, text.data() ? text : Str(""));
    slot.def->set(r, &v, slot.def->data);
    return;
  }
  set_indexed(r, index, text);
}

bool fail(Rewriting& run, int status) {
  run.status = status;
  return kEnd;
}

void go_on(SetWait* wait, int rc, Str value);

bool set_by_lua(Rewriting& run, const RewriteOp& op) {
  Request* r = run.r;
  const Handler* h = op.handler.get();
  const size_t n = h->args.size();
  Str* args = r->pool->array<Str>(n);
  for (size_t i = 0; i < n; ++i) args[i] = value_in(run, h->args[i]);
  Str value;
  SetWait* wait = nullptr;
  int rc = lua_set_handler(r, h, args, static_cast<int>(n), &value, &wait);
  if (rc == kAgain) {
    wait->done = go_on;
    wait->data = r->pool->make<Rewriting>(run);
    return fail(run, kDone);
  }
  if (rc != kOk) return fail(run, 500);
  assign(r, op.var, value);
  return !kEnd;
}

bool set_filter(Rewriting& run, const RewriteOp& op) {
  const SetFilter* filter = find_set_filter(op.fn);
  if (!filter) {
    MOONPHASE_LOG(run.r, kLogErr, 0, "the \"%s\" directive is not there yet", op.fn.c_str());
    return fail(run, 500);
  }
  return run_set_filter(run.r, *filter, op.var, op.args) == kOk ? !kEnd : fail(run, 500);
}

// kOk: the condition holds; kDeclined: not; kError.
int test_regex(Rewriting& run, const Regex& regex, Str subject) {
  int rc = match_regex(run.r, regex, subject);
  if (rc == kOk) {
    REWRITE_NOTICE(run, "\"%s\" matches \"%.*s\"", regex.pattern.c_str(), STR(subject));
  } else if (rc == kDeclined) {
    REWRITE_NOTICE(run, "\"%s\" does not match \"%.*s\"", regex.pattern.c_str(), STR(subject));
    run.r->ncaptures = 0;
  }
  return rc;
}

bool test_file(Rewriting& run, const Condition& cond) {
  Request* r = run.r;
  Str path(r->pool->c_str(value_in(run, cond.value)));
  FileInfo info;
  if (!stat_file(path, &info)) {
    if (!is_missing(info.err))
      MOONPHASE_LOG(r, kLogCrit, info.err, "%s \"%s\" failed", info.failed, path.data());
    return false;
  }
  switch (cond.kind) {
    case Condition::kFile:
      return info.is_file;
    case Condition::kDir:
      return info.is_dir;
    case Condition::kExec:
      return info.is_exec;
    default:
      return info.is_file || info.is_dir;
  }
}

int test(Rewriting& run, const Condition& cond) {
  bool holds = false;
  switch (cond.kind) {
    case Condition::kVar: {
      Str s = value_of(get_flushed(run.r, cond.var));
      holds = !s.empty() && s != "0";
      break;
    }
    case Condition::kEqual: {
      Str s = value_of(get_flushed(run.r, cond.var));
      holds = s == value_in(run, cond.value);
      break;
    }
    case Condition::kMatch: {
      int rc = test_regex(run, *cond.regex, value_of(get_flushed(run.r, cond.var)));
      if (rc == kError) return kError;
      holds = rc == kOk;
      break;
    }
    default:
      holds = test_file(run, cond);
  }
  return holds != cond.negate ? kOk : kDeclined;
}

// A replacement under construction: its pieces are known, then copied at once.
struct Replacement {
  Str text;
  size_t args = Str::npos;  // where the last unescaped "?" of the configuration stands (which is
                            // not in `text`)
  bool has_question = false;
};

Replacement replace(Rewriting& run, const RewriteOp& op, bool redirect) {
  Request* r = run.r;
  const Complex& value = op.value;
  const size_t n = value.literal() ? 1 : value.parts.size();
  Str* texts = r->pool->array<Str>(n);
  size_t size = 0;
  bool in_args = false;
  Replacement out;
  for (size_t i = 0; i < n; ++i) {
    bool text = value.literal() || value.parts[i].kind == Complex::Part::kText;
    if (text) {
      texts[i] = value.literal() ? value.text : value.parts[i].text;
      if (texts[i].find('?') != Str::npos) in_args = out.has_question = true;
    } else if (value.parts[i].kind == Complex::Part::kVar) {
      texts[i] = value_of(get_flushed(r, value.parts[i].index));
    } else {
      Str s = capture(r, value.parts[i].index);
      bool escape = (redirect || in_args) && (r->quoted_uri || r->plus_in_uri);
      texts[i] = escape ? http::escape(*r->pool, s, http::Escape::kArgs) : s;
    }
    size += texts[i].size();
  }
  if (op.add_args) size += r->args.size() + 1;

  char* start = r->pool->bytes(size);
  char* p = start;
  for (size_t i = 0; i < n; ++i) {
    bool text = value.literal() || value.parts[i].kind == Complex::Part::kText;
    for (char c : texts[i]) {
      if (text && c == '?' && !redirect)
        out.args = static_cast<size_t>(p - start);
      else
        *p++ = c;
    }
  }
  out.text = {start, static_cast<size_t>(p - start)};
  return out;
}

void append_args(Request* r, Str* text, char separator) {
  char* p = const_cast<char*>(text->data()) + text->size();  // replace() has left room
  *p++ = separator;
  std::memcpy(p, r->args.data(), r->args.size());
  *text = Str(text->data(), text->size() + 1 + r->args.size());
}

void redirect_to(Rewriting& run, const RewriteOp& op) {
  Request* r = run.r;
  Replacement made = replace(run, op, true);
  // Escapes of the URI that the location does not need are undone, up to its arguments.
  char* start = const_cast<char*>(made.text.data());
  size_t question = made.text.find('?');
  Str path = made.text.substr(0, question), rest = made.text.substr(path.size());
  char* end = http::unescape(start, path, http::Unescape::kRedirect);
  std::memmove(end, rest.data(), rest.size());
  Str text{start, static_cast<size_t>(end - start) + rest.size()};
  if (op.add_args && !r->args.empty()) append_args(r, &text, made.has_question ? '&' : '?');
  REWRITE_NOTICE(run, "rewritten redirect: \"%.*s\"", STR(text));
  set_location(r, text);
}

bool rewrite_uri(Rewriting& run, const RewriteOp& op) {
  Request* r = run.r;
  Replacement made = replace(run, op, false);
  Str uri = made.text;
  if (made.args != Str::npos) {
    uri = made.text.substr(0, made.args);
    if (op.add_args && !r->args.empty()) append_args(r, &made.text, '&');
    r->args = made.text.substr(made.args);
  } else if (!op.add_args) {
    r->args = Str(r->args.data(), 0);
  }
  REWRITE_NOTICE(run, "rewritten data: \"%.*s\", args: \"%.*s\"", STR(uri), STR(r->args));
  r->uri = uri;
  if (uri.empty()) {
    MOONPHASE_LOG(r, kLogErr, 0, "the rewritten URI has a zero length");
    return fail(run, 500);
  }
  http::set_exten(r);
  return !kEnd;
}

bool rewrite(Rewriting& run, const RewriteOp& op) {
  Request* r = run.r;
  int rc = test_regex(run, *op.regex, r->uri);
  if (rc == kError) return fail(run, 500);
  if (rc == kDeclined) return !kEnd;

  bool redirect =
      op.absolute || op.flag == RewriteOp::kRedirect || op.flag == RewriteOp::kPermanent;
  if (redirect) run.status = op.flag == RewriteOp::kPermanent ? 301 : 302;
  r->internal = true;
  r->valid_unparsed_uri = false;
  if (op.flag == RewriteOp::kBreakFlag) {
    r->valid_location = false;
    r->uri_changed = false;
  } else {
    r->uri_changed = true;
  }
  run.quote = false;
  if (redirect) {
    redirect_to(run, op);
    return kEnd;
  }
  if (rewrite_uri(run, op) == kEnd) return kEnd;
  return op.flag != RewriteOp::kNone;
}

bool enter_if(Rewriting& run, const RewriteOp& op) {
  Request* r = run.r;
  int rc = test(run, op.cond);
  if (rc == kError) return fail(run, 500);
  if (rc == kDeclined) return !kEnd;
  if (op.conf) {
    r->loc = op.conf;
    update_location(r);
  }
  run.levels[++run.depth] = {&op.then, 0};
  return !kEnd;
}

bool run_op(Rewriting& run, const RewriteOp& op) {
  Request* r = run.r;
  switch (op.kind) {
    case RewriteOp::kSet:
      assign(r, op.var, value_in(run, op.value));
      return !kEnd;
    case RewriteOp::kSetByLua:
      return set_by_lua(run, op);
    case RewriteOp::kSetFilter:
      return set_filter(run, op);
    case RewriteOp::kIf:
      return enter_if(run, op);
    case RewriteOp::kRewrite:
      return rewrite(run, op);
    case RewriteOp::kReturn:
      run.status = op.status < 400 || (op.has_text && !op.value.empty())
                       ? send_response(r, op.status, {}, op.value)
                       : op.status;
      return kEnd;
    case RewriteOp::kBreak:
      if (r->uri_changed) {
        r->valid_location = false;
        r->uri_changed = false;
      }
      return kEnd;
  }
  return kEnd;
}

void run_ops(Rewriting& run) {
  for (;;) {
    Rewriting::Level& level = run.levels[run.depth];
    if (level.at == level.program->size()) {
      if (run.depth-- == 0) return;
    } else if (run_op(run, (*level.program)[level.at++]) == kEnd) {
      return;
    }
  }
}

// A set_by_lua that waited has its value.
void go_on(SetWait* wait, int rc, Str value) {
  Rewriting& run = *static_cast<Rewriting*>(wait->data);
  Request* r = run.r;
  if (rc != kOk) {
    run.status = 500;
  } else {
    const Rewriting::Level& level = run.levels[run.depth];
    assign(r, (*level.program)[level.at - 1].var, value);
    run_ops(run);
  }
  if (run.status != kDone) resume_phase(r, run.status);
}

}  // namespace

int run_program(Request* r, const RewriteProgram& program) {
  Rewriting run{r, loc(r)->rewrite_log || log_of(r).enabled(kLogDebug)};
  run.levels[0].program = &program;
  run_ops(run);
  return run.status;
}

int server_rewrite_ops(Request* r) {
  const auto& program = static_cast<const ServerConf*>(r->srv)->rewrite_ops;
  return program.empty() ? int{kDeclined} : run_program(r, program);
}

int location_rewrite_ops(Request* r) {
  const LocConf* conf = loc(r);
  if (conf->rewrite_ops.empty() || r->loc == r->srv->conf) return kDeclined;
  return run_program(r, conf->rewrite_ops);
}

}  // namespace moonphase::engine
