// Phases as a table: adding one edits its row and its handler.
#pragma once

#include "engine/plan.h"
#include "http/request.h"

namespace moonphase::engine {

using http::Request;

// Bits as lua-nginx-module numbers them (Lua sees them through ngx.get_raw_phase).
enum PhaseBit : uint32_t {
  kPhaseInit = 0,
  kPhaseSet = 0x1,
  kPhaseRewrite = 0x2,
  kPhaseAccess = 0x4,
  kPhaseContent = 0x8,
  kPhaseLog = 0x10,
  kPhaseHeaderFilter = 0x20,
  kPhaseBodyFilter = 0x40,
  kPhaseTimer = 0x80,
  kPhaseInitWorker = 0x100,
  kPhaseBalancer = 0x200,
  kPhaseSslCert = 0x400,
  kPhaseSslSessionStore = 0x800,
  kPhaseSslSessionFetch = 0x1000,
  kPhaseExitWorker = 0x2000,
  kPhaseSslClientHello = 0x4000,
  kPhaseServerRewrite = 0x8000,
  kPhaseProxySslVerify = 0x10000,
  kPhasePrecontent = 0x20000,
  kPhaseProxySslCert = 0x40000,
};

// What an ngx.* function needs of the phase it is called in.
enum Capability : uint32_t {
  kCapRequest = 1u << 0,      // a request: headers, variables
  kCapYield = 1u << 1,        // may wait
  kCapSendHeaders = 1u << 2,  // ngx.send_headers, say, print, flush, eof
  kCapSetHeaders = 1u << 3,   // ngx.header, ngx.status
  kCapReadBody = 1u << 4,     // ngx.req.read_body and friends
  kCapSubrequest = 1u << 5,   // ngx.location.capture
  kCapExit = 1u << 6,         // ngx.exit
  kCapControl = 1u << 7,      // ngx.exec, ngx.redirect, ngx.req.set_uri(jump)
  kCapThread = 1u << 8,       // ngx.thread.*
  kCapCosocket = 1u << 9,     // ngx.socket.*
  kCapSleep = 1u << 10,
  kCapTimer = 1u << 11,
  kCapVariables = 1u << 12,        // ngx.var
  kCapRequestHeaders = 1u << 13,   // ngx.req.*header
  kCapRequestBodyData = 1u << 14,  // get_body_data, get_post_args …
  kCapRespBody = 1u << 15,         // ngx.arg of body filters
  kCapOnAbort = 1u << 16,
  kCapPipe = 1u << 17,
  kCapSemaphoreWait = 1u << 18,
  kCapWorkerThread = 1u << 19,
  kCapSetUri = 1u << 20,
  kCapRawSocket = 1u << 21,
};

struct PhaseRow {
  const char* name;       // ngx.get_phase()
  const char* directive;  // "content_by_lua*": "API disabled in the context of content_by_lua*"
  uint32_t bit;
  uint32_t strict;    // OpenResty's capabilities
  uint32_t extended;  // with lua_phase_capabilities extended
};
const PhaseRow* phase_row(uint32_t bit);

// Which handler serves a location that has this content; null: nobody does (its module is not
// there).
http::Handler content_handler(ContentKind kind);
void set_content_handler(ContentKind kind, http::Handler handler);

// A module's handler in one of nginx's phases. The steps of a Plan are made of the rows that it
// uses.
enum class Phase : uint8_t {
  kPostRead,
  kServerRewrite,
  kRewrite,
  kPreaccess,
  kAccess,
  kPrecontent,
  kContent
};
struct StepRow {
  Phase phase;
  http::Handler handler;
  bool (*used)(const Plan& plan);  // does any part of the Plan need it?
  // Lua's handlers stand first in their phase with `*_by_lua_no_postpone`, else last. Null: keeps
  // its place.
  bool (*first)(const Plan& plan) = nullptr;
};
// Rows run in order of registration; nginx's own and Lua's are there already. Before any Plan is
// sealed.
void add_step(const StepRow& row);
void build_steps(Plan& plan);

// --- the request's walk through nginx's phases (core, not Lua) ---
// Runs r from its current phase_handler until it waits or ends (ngx_http_core_run_phases).
void run_phases(Request* r);
// From the start: internal or not, subrequest or main (ngx_http_handler).
void start_request(Request* r);
// Redirects (kDone always; the caller returns at once).
int internal_redirect(Request* r, Str uri, Str args);
int named_location(Request* r, Str name);  // "@name"
// For handlers that have waited: go on behind this one. `rc` is what the handler would have
// returned.
void resume_phase(Request* r, int rc);

}  // namespace moonphase::engine
