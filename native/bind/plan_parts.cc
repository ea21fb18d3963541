#include "bind/plan_parts.h"

#include <algorithm>

namespace moonphase::bind {

using engine::Condition;
using engine::Handler;
using engine::HandlerPtr;
using engine::RewriteOp;
using http::Complex;

void read(const PlanValue& from, Complex& to) {
  if (from.is_string()) {
    to.text = from.bytes();
    return;
  }
  from.each([&](const PlanValue& v) {
    Complex::Part& part = to.parts.emplace_back();
    if (v.is_string()) {
      part.text = v.bytes();
    } else if (v.has("var")) {
      part.kind = Complex::Part::kVar;
      read(v.get("var"), part.index);
    } else {
      part.kind = Complex::Part::kCapture;
      read(v.get("cap"), part.index);
    }
  });
}

void read(const PlanValue& from, engine::Where& to) {
  PLAN_READ(to, from, file);
  PLAN_READ(to, from, line);
}

HandlerPtr PlanParts::handler(const PlanValue& owner, const char* name) {
  if (!owner.has(name)) return nullptr;
  HandlerPtr made = handler(owner.get(name));
  // The same directive again: its place tells, or its code where several stand in one line.
  std::string key = std::string(name) + '\n' + made->where.file + '\n' +
                    std::to_string(made->where.line) + '\n' + std::to_string(made->kind) +
                    std::to_string(made->js) + '\n';
  key += made->kind == Handler::kFile ? made->file.text : made->source;
  for (const Complex::Part& part : made->file.parts)
    key += '\n' + std::to_string(part.index) + part.text;
  HandlerPtr& known = handlers_[key];
  if (!known) known = std::move(made);
  return known;
}

HandlerPtr PlanParts::handler(const PlanValue& v) {
  auto handler = std::make_shared<Handler>();
  if (v.has("inline")) {
    read(v.get("inline"), handler->source);
  } else if (v.has("file")) {
    handler->kind = Handler::kFile;
    read(v.get("file"), handler->file);
  } else {
    handler->kind = Handler::kJs;
    read(v.get("js"), handler->js);
  }
  PLAN_READ(*handler, v, chunk);
  PLAN_READ(*handler, v, where);
  PLAN_READ_OPTIONAL(*handler, v, args);
  return handler;
}

engine::RegexPtr PlanParts::regex(const PlanValue& v) {
  std::string error;
  auto regex =
      engine::Regex::compile(v.get("pattern").bytes(), v.get("caseless").boolean(), &error);
  if (regex) return regex;
  engine::Where where;
  read(v.get("where"), where);
  // line 0: an option of createGateway, which `file` names
  throw PlanError{error + " in " + where.file +
                  (where.line ? ":" + std::to_string(where.line) : "")};
}

Syslog* PlanParts::syslog(const PlanValue& v) {
  auto index = static_cast<size_t>(v.integer());
  if (index >= plan.syslogs.size()) v.fail("an index of syslogs");
  return plan.syslogs[index].get();
}

Log PlanParts::log(const PlanValue& error_logs) {
  static constexpr std::pair<const char*, int> kLevels[] = {
      {"emerg", kLogEmerg}, {"alert", kLogAlert},   {"crit", kLogCrit}, {"error", kLogErr},
      {"warn", kLogWarn},   {"notice", kLogNotice}, {"info", kLogInfo}, {"debug", kLogDebug},
  };
  std::vector<Log::Target> targets;
  std::string key;
  error_logs.each([&](const PlanValue& v) {
    auto index = static_cast<size_t>(v.get("log").integer());
    if (index >= plan.sinks.size()) v.get("log").fail("an index of logs");
    targets.push_back({plan.sinks[index].get(), v.get("level").word(kLevels)});
    key += std::to_string(index) + ':' + std::to_string(targets.back().level) + ' ';
  });
  auto [it, fresh] = logs_.try_emplace(key);
  if (fresh && !targets.empty()) {
    Log& log = it->second;
    log.max_level = 0;
    for (const Log::Target& target : targets) log.max_level = std::max(log.max_level, target.level);
    plan.log_targets.push_back(std::move(targets));
    log.targets = plan.log_targets.back().data();
    log.count = static_cast<unsigned>(plan.log_targets.back().size());
  }
  return it->second;
}

Condition PlanParts::condition(const PlanValue& v) {
  static constexpr std::pair<const char*, Condition::Kind> kKinds[] = {
      {"var", Condition::kVar},   {"equal", Condition::kEqual}, {"match", Condition::kMatch},
      {"file", Condition::kFile}, {"dir", Condition::kDir},     {"exists", Condition::kExists},
      {"exec", Condition::kExec},
  };
  Condition cond;
  cond.kind = v.get("kind").word(kKinds);
  PLAN_READ_OPTIONAL(cond, v, var);
  PLAN_READ_OPTIONAL(cond, v, negate);
  if (cond.kind == Condition::kEqual) read(v.get("value"), cond.value);
  if (cond.kind == Condition::kMatch) cond.regex = regex(v.get("regex"));
  if (v.has("path")) read(v.get("path"), cond.value);
  return cond;
}

RewriteOp PlanParts::rewrite_op(const PlanValue& v) {
  static constexpr std::pair<const char*, RewriteOp::Kind> kKinds[] = {
      {"set", RewriteOp::kSet},
      {"set_by_lua", RewriteOp::kSetByLua},
      {"set_filter", RewriteOp::kSetFilter},
      {"if", RewriteOp::kIf},
      {"rewrite", RewriteOp::kRewrite},
      {"return", RewriteOp::kReturn},
      {"break", RewriteOp::kBreak},
  };
  static constexpr std::pair<const char*, RewriteOp::Flag> kFlags[] = {
      {"", RewriteOp::kNone},
      {"last", RewriteOp::kLast},
      {"break", RewriteOp::kBreakFlag},
      {"redirect", RewriteOp::kRedirect},
      {"permanent", RewriteOp::kPermanent},
  };
  RewriteOp op;
  op.kind = v.get("op").word(kKinds);
  switch (op.kind) {
    case RewriteOp::kSet:
      PLAN_READ(op, v, var);
      PLAN_READ(op, v, value);
      break;
    case RewriteOp::kSetByLua:
      PLAN_READ(op, v, var);
      op.handler = handler(v.get("handler"));
      break;
    case RewriteOp::kSetFilter:
      PLAN_READ(op, v, var);
      PLAN_READ(op, v, fn);
      PLAN_READ(op, v, args);
      break;
    case RewriteOp::kIf:
      op.cond = condition(v.get("cond"));
      op.then = rewrite(v.get("then"));
      if (v.has("conf")) op.conf = conf(v.get("conf"));
      break;
    case RewriteOp::kRewrite:
      op.regex = regex(v.get("regex"));
      read(v.get("replacement"), op.value);
      PLAN_READ(op, v, add_args);
      PLAN_READ(op, v, absolute);
      op.flag = v.get("flag").word(kFlags);
      break;
    case RewriteOp::kReturn:
      PLAN_READ(op, v, status);
      op.has_text = v.has("text");
      if (op.has_text) read(v.get("text"), op.value);
      break;
    case RewriteOp::kBreak:
      break;
  }
  return op;
}

engine::RewriteProgram PlanParts::rewrite(const PlanValue& ops) {
  engine::RewriteProgram program;
  ops.each([&](const PlanValue& v) { program.push_back(rewrite_op(v)); });
  return program;
}

namespace {

template <class T>
T* pick(const std::vector<std::unique_ptr<T>>& list, const PlanValue& index) {
  auto i = static_cast<size_t>(index.integer());
  if (i >= list.size()) index.fail("an index of its table");
  return list[i].get();
}

}  // namespace

engine::LocConf* PlanParts::conf(const PlanValue& index) { return pick(plan.confs, index); }
engine::ServerConf* PlanParts::server(const PlanValue& index) { return pick(plan.servers, index); }
const engine::LogFormat* PlanParts::format(const PlanValue& index) {
  return pick(plan.formats, index);
}

}  // namespace moonphase::bind
