#!/usr/bin/env bash
# The tests with AddressSanitizer and UndefinedBehaviorSanitizer: scripts/sanitized-tests.sh [short|full]
#   short   the test blocks (test/lua) and calls from JavaScript (test/bind) against a sanitized addon
#   full    everything below test/, and the C++ unit tests
# The last line counts, as npm test's.
set -euo pipefail
cd "$(dirname "$0")/.."

places=()
jobs=1
size=${1:-short}
case $size in
  short) places=(test/lua test/bind) jobs=2 ;;
  full) ;;
  *) echo "usage: $0 [short|full]" >&2; exit 2 ;;
esac

export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 SHM_TEST_SCALE=${SHM_TEST_SCALE:-0.1}
if [ "$size" = full ]; then
  scripts/dev-build.sh native-asan
  for program in build/native-asan/*_test; do
    "$program" >build/native-asan/out.txt 2>&1 || { cat build/native-asan/out.txt; echo "FAIL $program"; exit 1; }
    echo "ok   $program"
  done
fi

scripts/dev-build.sh asan
TAP_TIMEOUT=${TAP_TIMEOUT:-600} scripts/with-sanitizer.sh asan node scripts/test.mjs --jobs=$jobs "${places[@]}"
