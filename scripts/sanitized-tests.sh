#!/usr/bin/env bash
# The tests with AddressSanitizer and UndefinedBehaviorSanitizer: scripts/sanitized-tests.sh [short|full]
#   short   the C++ unit tests, and the test blocks (test/lua) against a sanitized addon
#   full    the C++ unit tests, and everything below test/
# The last line counts, as npm test's.
set -euo pipefail
cd "$(dirname "$0")/.."

places=()
case ${1:-short} in
  short) places=(test/lua) ;;
  full) ;;
  *) echo "usage: $0 [short|full]" >&2; exit 2 ;;
esac

scripts/dev-build.sh native-asan
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 SHM_TEST_SCALE=${SHM_TEST_SCALE:-0.1}
for program in build/native-asan/*_test; do
  "$program" >build/native-asan/out.txt 2>&1 || { cat build/native-asan/out.txt; echo "FAIL $program"; exit 1; }
  echo "ok   $program"
done

scripts/dev-build.sh asan
TAP_TIMEOUT=${TAP_TIMEOUT:-600} scripts/with-sanitizer.sh asan node scripts/test.mjs --jobs=1 "${places[@]}"
