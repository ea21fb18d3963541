#include "engine/running.h"

namespace moonphase::engine {

constinit thread_local RunningState t_running;

}  // namespace moonphase::engine
