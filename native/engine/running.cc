#include "engine/running.h"

namespace moonphase::engine {

constinit thread_local Generation* t_running = nullptr;

}  // namespace moonphase::engine
