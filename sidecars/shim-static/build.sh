#!/usr/bin/env bash
# Builds the static shim: no libc, nothing of the machine's paths in it, the same bytes from the same sources and Go.
# usage: build.sh [OUT] [amd64|arm64]     (OUT: bin/podline-shim, which images take)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(realpath -m "${1:-$here/../../bin/podline-shim}") arch=${2:-$(cd "$here" && go env GOARCH)}
bytes_max=$((3 * 1024 * 1024))
mkdir -p "$(dirname "$out")"
cd "$here"
CGO_ENABLED=0 GOOS=linux GOARCH=$arch GOWORK=off go build -trimpath -buildvcs=false -ldflags '-s -w -buildid=' -o "$out.part" .
[ "$(stat -c %s "$out.part")" -le $bytes_max ] || { echo "podline-shim is larger than $bytes_max bytes" >&2; exit 1; }
mv "$out.part" "$out"
