// Who takes part in the phases: nginx's own modules, Lua (whose handlers may be JavaScript), and
// what modules add.
#include "engine/content.h"
#include "engine/content/dav.h"
#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/phases.h"
#include "engine/rewrite.h"
#include "engine/runtime.h"
#include "http/gzip.h"

namespace moonphase::engine {

void add_checkers(Plan& plan, const std::vector<StepRow>& rows);  // phases.cc

namespace {

template <class F>
bool any_location(const Plan& plan, F wants) {
  for (const auto& conf : plan.confs)
    if (wants(*conf)) return true;
  return false;
}

template <HandlerPtr LuaLocConf::*Slot>
bool lua_used(const Plan& plan) {
  return any_location(plan, [](const LocConf& c) { return (c.lua.*Slot) != nullptr; });
}
bool lua_server_rewrite_used(const Plan& plan) {
  for (const auto& server : plan.servers)
    if (server->server_rewrite) return true;
  return false;
}
bool server_ops_used(const Plan& plan) {
  for (const auto& server : plan.servers)
    if (!server->rewrite_ops.empty()) return true;
  return false;
}

bool always(const Plan&) { return true; }

struct Registry {
  // nginx runs the handlers of a phase in the reverse order of its list of modules, and Lua's
  // module comes late in it: that is why Lua's server_rewrite goes first. The other three move to
  // the end of their phase (`first`).
  std::vector<StepRow> rows = {
      {Phase::kServerRewrite, lua_server_rewrite_handler, lua_server_rewrite_used},
      {Phase::kServerRewrite, server_rewrite_ops, server_ops_used},
      {Phase::kRewrite, location_rewrite_ops,
       [](const Plan& p) {
         return any_location(p, [](const LocConf& c) { return !c.rewrite_ops.empty(); });
       }},
      {Phase::kRewrite, lua_rewrite_handler, lua_used<&LuaLocConf::rewrite>,
       [](const Plan& p) { return p.lua.rewrite_no_postpone; }},
      {Phase::kAccess, access_handler,
       [](const Plan& p) {
         return any_location(p, [](const LocConf& c) { return !c.access.empty(); });
       }},
      {Phase::kAccess, auth_basic_handler,
       [](const Plan& p) {
         return any_location(p, [](const LocConf& c) { return c.has_auth_basic; });
       }},
      {Phase::kAccess, lua_access_handler, lua_used<&LuaLocConf::access>,
       [](const Plan& p) { return p.lua.access_no_postpone; }},
      {Phase::kPrecontent, try_files_handler,
       [](const Plan& p) {
         return any_location(p, [](const LocConf& c) { return c.try_files != nullptr; });
       }},
      {Phase::kPrecontent, lua_precontent_handler, lua_used<&LuaLocConf::precontent>,
       [](const Plan& p) { return p.lua.precontent_no_postpone; }},
      {Phase::kContent, index_handler, always},
      {Phase::kContent, dav_handler,
       [](const Plan& p) {
         return any_location(p, [](const LocConf& c) { return c.module[kModDav] != nullptr; });
       }},
      {Phase::kContent, gzip_static_handler,
       [](const Plan& p) {
         return any_location(p, [](const LocConf& c) {
           return c.gzip && c.gzip->of_files != http::GzipConf::kStaticOff;
         });
       }},
      {Phase::kContent, static_handler, always},
  };
  http::Handler content[16] = {};
  Registry() { content[static_cast<int>(ContentKind::kLua)] = lua_content_handler; }
};
Registry& registry() {
  static Registry r;
  return r;
}

}  // namespace

void add_step(const StepRow& row) { registry().rows.push_back(row); }

http::Handler content_handler(ContentKind kind) {
  return registry().content[static_cast<int>(kind)];
}
void set_content_handler(ContentKind kind, http::Handler handler) {
  registry().content[static_cast<int>(kind)] = handler;
}

void build_steps(Plan& plan) {
  std::vector<StepRow> first, middle, last;
  for (const StepRow& row : registry().rows) {
    if (!row.used(plan)) continue;
    (!row.first ? middle : row.first(plan) ? first : last).push_back(row);
  }
  first.insert(first.end(), middle.begin(), middle.end());
  first.insert(first.end(), last.begin(), last.end());
  plan.steps.clear();
  add_checkers(plan, first);
}

}  // namespace moonphase::engine
