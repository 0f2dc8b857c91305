#!/bin/sh
# Builds the native part of the scratch (podline_native.c) into native/prebuilds/.
#
# With zig (on the PATH, or as the PyPI package `ziglang`: PYTHONPATH may point at it) for all platforms that have a
# prebuild; without it, with cc, for this machine alone. Run after every change of the source: a test compares
# prebuilds/SOURCE.sha256 with it. Needs `npm ci` for the headers of N-API.
set -eu
cd "$(dirname "$0")"
headers=../node_modules/node-api-headers/include
flags="-std=c11 -O2 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Wl,-z,relro,-z,now -D_FILE_OFFSET_BITS=64"
mkdir -p prebuilds

if command -v zig >/dev/null 2>&1; then zig=zig
elif python3 -c 'import ziglang' >/dev/null 2>&1; then zig="python3 -m ziglang"
else zig=
fi

build() { # compiler, name
  # shellcheck disable=SC2086
  $1 $flags -s -isystem "$headers" -o "prebuilds/$2.node" podline_native.c
  chmod 0644 "prebuilds/$2.node"
  echo "built prebuilds/$2.node ($(wc -c <"prebuilds/$2.node") bytes)"
}

if [ -n "$zig" ]; then
  for cpu in x86_64 aarch64; do
    case $cpu in x86_64) arch=x64 ;; *) arch=arm64 ;; esac
    build "$zig cc -target $cpu-linux-gnu.2.17" "linux-$arch-glibc"
    build "$zig cc -target $cpu-linux-musl -dynamic" "linux-$arch-musl"
  done
  sha256sum podline_native.c | cut -d' ' -f1 >prebuilds/SOURCE.sha256
else
  case "$(uname -m)" in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) echo "no prebuild for $(uname -m)" >&2; exit 1 ;; esac
  if ls /lib/ld-musl-* >/dev/null 2>&1; then libc=musl; else libc=glibc; fi
  build cc "linux-$arch-$libc"
  echo "zig was not found: only this machine's prebuild was built, SOURCE.sha256 is left as it was" >&2
fi
