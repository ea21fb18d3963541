// echo-nginx-module: a location's answer as a list of commands, and lines around other handlers'
// bodies.
#pragma once

#include <vector>

#include "engine/plan.h"

namespace moonphase::engine {

struct EchoCommand {
  enum Op : uint8_t {
    kEcho,
    kRequestBody,
    kSleep,
    kFlush,
    kBlockingSleep,
    kResetTimer,
    kLocationAsync,
    kLocation,
    kSubrequestAsync,
    kSubrequest,
    kDuplicate,
    kReadRequestBody,
    kForeachSplit,
    kEnd,
    kAbortParent,
    kExec,
    kSync,  // sends the header before the first subrequest; stands for no directive
  } op = kEcho;
  std::vector<Complex> args;  // behind the options
  bool newline = true;        // no -n
};
using EchoProgram = std::vector<EchoCommand>;

struct EchoConf {
  EchoProgram commands, before_body, after_body;
  int status = 200;
};

// Appends what a directive (`echo`, `echo_sleep`, `echo_before_body` …) does. False: there is no
// such directive.
bool add_echo_command(EchoProgram* program, Str directive, std::vector<Complex> args);

void register_echo();

}  // namespace moonphase::engine
