#!/usr/bin/env bash
# Runs a command with the addon of a sanitizer build: scripts/with-sanitizer.sh [asan|tsan] node …
# Leaks are looked for with MOONPHASE_LEAKS=1 (scripts/lsan.supp names what is Node's own).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
kind=$1
shift
case $kind in
  asan) library=libasan.so addon=Asan ;;
  tsan) library=libtsan.so addon=Tsan ;;
  *) echo "usage: $0 asan|tsan COMMAND…" >&2; exit 2 ;;
esac
export MOONPHASE_ADDON="$root/build/$addon/moonphase.node" MOONPHASE_SANITIZER=$kind
export ASAN_OPTIONS="detect_leaks=${MOONPHASE_LEAKS:-0}:detect_stack_use_after_return=0:abort_on_error=1:handle_segv=1:allow_user_segv_handler=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export LSAN_OPTIONS="suppressions=$root/scripts/lsan.supp:print_suppressions=0"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"
export TSAN_OPTIONS="ignore_noninstrumented_modules=1${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
LD_PRELOAD=$(${CXX:-g++} -print-file-name=$library) exec "$@"
