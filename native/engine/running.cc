#include "engine/running.h"

namespace moonphase::engine {

thread_local Generation* t_running = nullptr;

}  // namespace moonphase::engine
