#!/usr/bin/env bash
# Installs the Debian packages that building and the tests need and that are not there yet. Says what
# it does. Never starts a service: the tests start their own servers, on their own ports.
#   --list   prints the missing packages and changes nothing
set -euo pipefail

packages=(
  # building
  g++ make python3 binutils xz-utils cmake ninja-build ccache clang-format
  # peers: the same configuration on nginx, and what the examples talk to
  nginx libnginx-mod-http-lua libnginx-mod-http-ndk nghttp2-client redis-server memcached mariadb-server
  # Lua libraries, C modules among them, that must run unchanged
  lua-cjson lua-filesystem lua-nginx-redis lua-nginx-memcached lua-nginx-string
  lua-nginx-websocket lua-nginx-dns lua-nginx-cookie lua-nginx-kafka
)

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done

if [ "${1:-}" = --list ]; then
  [ ${#missing[@]} = 0 ] || printf '%s\n' "${missing[@]}"
  exit 0
fi
if [ ${#missing[@]} = 0 ]; then
  echo "test packages: all ${#packages[@]} are there"
  exit 0
fi

echo "test packages: installing ${missing[*]}"
sudo=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "test packages: needs root, or sudo" >&2; exit 1; }
  sudo=(sudo)
fi

# Debian's way to say "start nothing"; a policy that the machine already has stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee $policy >/dev/null
  "${sudo[@]}" chmod 755 $policy
  trap '"${sudo[@]}" rm -f $policy' EXIT
fi

install() {
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
install "${missing[@]}" 2>/dev/null || { "${sudo[@]}" apt-get update -qq; install "${missing[@]}"; }
echo "test packages: installed"
