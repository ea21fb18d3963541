// The phases and what may be done in them, as OpenResty allows it.
#include <iterator>

#include "engine/phases.h"

namespace moonphase::engine {

namespace {

// With a client's request behind it: variables, headers of both directions.
constexpr uint32_t kOfRequest = kCapRequest | kCapSetHeaders | kCapVariables | kCapRequestHeaders |
                                kCapRequestBodyData | kCapOnAbort | kCapTimer;
// May wait.
constexpr uint32_t kWaits = kCapYield | kCapThread | kCapCosocket | kCapSleep | kCapPipe |
                            kCapSemaphoreWait | kCapWorkerThread;
// Where the answer is made.
constexpr uint32_t kAnswers =
    kOfRequest | kWaits | kCapSendHeaders | kCapReadBody | kCapExit | kCapControl | kCapRawSocket;

// In the handshake with a server that the request is passed on to.
constexpr uint32_t kToServer = (kOfRequest & ~kCapOnAbort) | kWaits | kCapExit;

// With a request that has not ended: subrequests, too.
constexpr uint32_t kWaitsInRequest = kWaits | kCapSubrequest;

// `more` is what lua_phase_capabilities extended adds. ngx.on_abort belongs to the phases that
// answer: the strict ones of the others refuse it because its coroutine could not wait.
constexpr PhaseRow row(const char* name, const char* directive, uint32_t bit, uint32_t strict,
                       uint32_t more = 0) {
  return {name, directive, bit, strict, more ? (strict & ~kCapOnAbort) | more : strict};
}

// In the order of their bits.
constexpr PhaseRow kRows[] = {
    row("init", "init_by_lua*", kPhaseInit, 0, kWaits),
    row("set", "set_by_lua*", kPhaseSet, kOfRequest, kWaitsInRequest),
    row("rewrite", "rewrite_by_lua*", kPhaseRewrite, kAnswers | kCapSubrequest | kCapSetUri),
    row("access", "access_by_lua*", kPhaseAccess, kAnswers | kCapSubrequest),
    row("content", "content_by_lua*", kPhaseContent, kAnswers | kCapSubrequest),
    row("log", "log_by_lua*", kPhaseLog, kOfRequest, kWaits),
    row("header_filter", "header_filter_by_lua*", kPhaseHeaderFilter, kOfRequest | kCapExit,
        kWaitsInRequest),
    row("body_filter", "body_filter_by_lua*", kPhaseBodyFilter, kOfRequest | kCapRespBody,
        kWaitsInRequest),
    row("timer", "ngx.timer", kPhaseTimer, kWaits | kCapExit | kCapTimer),
    row("init_worker", "init_worker_by_lua*", kPhaseInitWorker, kCapTimer, kWaits),
    row("balancer", "balancer_by_lua*", kPhaseBalancer, kOfRequest | kCapExit, kWaits),
    row("ssl_cert", "ssl_certificate_by_lua*", kPhaseSslCert, kWaits | kCapExit | kCapTimer),
    row("ssl_session_store", "ssl_session_store_by_lua*", kPhaseSslSessionStore,
        kCapExit | kCapTimer),
    row("ssl_session_fetch", "ssl_session_fetch_by_lua*", kPhaseSslSessionFetch,
        kWaits | kCapExit | kCapTimer),
    row("exit_worker", "exit_worker_by_lua*", kPhaseExitWorker, 0),
    row("ssl_client_hello", "ssl_client_hello_by_lua*", kPhaseSslClientHello,
        kWaits | kCapExit | kCapTimer),
    row("server_rewrite", "server_rewrite_by_lua*", kPhaseServerRewrite, kAnswers | kCapSetUri),
    row("proxy_ssl_verify", "proxy_ssl_verify_by_lua*", kPhaseProxySslVerify, kToServer),
    row("precontent", "precontent_by_lua*", kPhasePrecontent, kAnswers),
    row("proxy_ssl_cert", "proxy_ssl_certificate_by_lua*", kPhaseProxySslCert, kToServer),
};

}  // namespace

const PhaseRow* phase_row(uint32_t bit) {
  size_t i = bit ? static_cast<size_t>(__builtin_ctz(bit)) + 1 : 0;
  return i < std::size(kRows) && kRows[i].bit == bit ? &kRows[i] : nullptr;
}

}  // namespace moonphase::engine
