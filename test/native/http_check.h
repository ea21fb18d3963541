// The least that a test program needs: check(), and how many failed.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

inline int g_failures = 0;

inline void check(bool ok, const char* what, std::string_view detail = "") {
  if (ok) return;
  ++g_failures;
  std::fprintf(stderr, "failed: %s %.*s\n", what, static_cast<int>(detail.size()), detail.data());
}
inline void same(std::string_view got, std::string_view want, std::string_view what) {
  if (got == want) return;
  ++g_failures;
  std::fprintf(stderr, "failed: %.*s\n  got  \"%.*s\"\n  want \"%.*s\"\n",
               static_cast<int>(what.size()), what.data(), static_cast<int>(got.size()), got.data(),
               static_cast<int>(want.size()), want.data());
}
