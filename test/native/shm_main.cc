// Runs the cases whose names contain an argument, or all.
#include "shm_test.h"

int main(int argc, char** argv) {
  int ran = 0;
  for (auto& c : shm_test::cases()) {
    bool wanted = argc < 2;
    for (int i = 1; i < argc; i++) wanted = wanted || std::strstr(c.name, argv[i]) != nullptr;
    if (!wanted) continue;
    std::fprintf(stderr, "# %s\n", c.name);
    c.run();
    std::printf("ok %d - %s\n", ++ran, c.name);
    std::fflush(stdout);
  }
  std::printf("1..%d\n", ran);
  return ran > 0 ? 0 : 1;
}
