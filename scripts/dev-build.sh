#!/usr/bin/env bash
# Builds the addon for development: scripts/dev-build.sh [dev|debug|asan|tsan|native-tests|native-asan] [ninja arguments]
#   dev    build/dev/moonphase.node    -O1 -g, what lib/ finds afterwards (build/Release links to it)
#   debug  build/Debug/moonphase.node  -O0 -g3, LuaJIT with its own assertions
#   asan   build/Asan/moonphase.node   AddressSanitizer + UBSan; run it by scripts/with-sanitizer.sh
#   tsan   build/Tsan/moonphase.node   ThreadSanitizer
#   native-tests   build/native-tests/*_test, of test/native; npm test builds and runs them
#   native-asan    build/native-asan/*_test, the same with AddressSanitizer + UBSan
# Works in any git worktree; MOONPHASE_DEPS_CACHE names a directory of dependencies that they share.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:-dev}
shift || true
case $kind in
  dev)   out=dev;   variant=release; options=(-DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS='-O1 -g') ;;
  debug) out=Debug; variant=check
         options=(-DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS='-g3' -DMOONPHASE_CHECKED_LUA=ON) ;;
  asan)  out=Asan;  variant=check
         options=(-DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS='-O1' -DMOONPHASE_CHECKED_LUA=ON
                  -DMOONPHASE_SANITIZE=address,undefined) ;;
  tsan)  out=Tsan;  variant=release
         options=(-DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS='-O1' -DMOONPHASE_SANITIZE=thread) ;;
  native-tests)
         out=native-tests; variant=release
         options=(-DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS='-O1 -g' -DMOONPHASE_NATIVE_TESTS=ON) ;;
  native-asan)
         out=native-asan; variant=check
         options=(-DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS='-O1' -DMOONPHASE_CHECKED_LUA=ON
                  -DMOONPHASE_SANITIZE=address,undefined -DMOONPHASE_NATIVE_TESTS=ON) ;;
  *) echo "usage: $0 [dev|debug|asan|tsan|native-tests|native-asan]" >&2; exit 2 ;;
esac

for tool in cmake ninja; do
  command -v $tool >/dev/null || { echo "missing: $tool; apt-get install cmake ninja-build" >&2; exit 1; }
done
node scripts/deps.mjs --variant $variant

# Paths of another checkout must not spoil the cache: worktrees share what they compile.
export CCACHE_BASEDIR="${CCACHE_BASEDIR:-$PWD}" CCACHE_NOHASHDIR=1
tree=build/cmake-$kind
if [ ! -f $tree/build.ninja ]; then
  cmake -S . -B $tree -G Ninja -DMOONPHASE_OUTPUT="$PWD/build/$out" "${options[@]}" >/dev/null
fi
ninja -C $tree "$@" | sed -u '/^ninja: Entering/d'

if [ "$kind" = dev ]; then
  mkdir -p build/Release
  ln -sfn ../dev/moonphase.node build/Release/moonphase.node
fi
