#!/bin/sh
# Builds and runs the shared memory tests: shm_run.sh [plain|address|thread] [case…]
set -eu
cd "$(dirname "$0")/../.."
mode=${1:-plain}
[ $# -gt 0 ] && shift
case $mode in
  plain) flags="-O2 -g" ;;
  address) flags="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined" ;;
  thread) flags="-O1 -g -fsanitize=thread" ;;
  *) echo "unknown mode: $mode" >&2; exit 2 ;;
esac
out=${SHM_TEST_DIR:-build/shm-$mode}
mkdir -p "$out"
objects=
running=
for f in native/shm/*.cc test/native/shm_*.cc; do
  o=$out/$(basename "$f" .cc).o
  objects="$objects $o"
  if [ ! -e "$o" ] || [ -n "$(find native/shm native/base/types.h test/native "$f" -newer "$o" \( -name '*.h' -o -path "$f" \) -print -quit)" ]; then
    ${CXX:-g++-12} -std=c++20 -Wall -Wextra -Werror $flags -Inative -c "$f" -o "$o" &
    running="$running $!"
  fi
done
for p in $running; do wait "$p"; done
${CXX:-g++-12} $flags $objects -o "$out/shm_test" -pthread
exec "$out/shm_test" "$@"
