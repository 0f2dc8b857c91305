#!/usr/bin/env bash
# Makes an image for a line's containers from this machine's node, the built runtime and a folder of bundled stages, puts it
# into the cluster's registry, and prints the name by which pods pull it, pinned by digest. The lower layers stay the same
# from one image to the next: a change of one stage sends one small layer.
# usage: image.sh NAME [STAGES_DIR]       (NAME without a tag, e.g. podline/flights; dist/ must be built)
# PODLINE_IMAGE_DIST names another folder in the place of dist/, without packages: for tests that need containers of their own.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
name=${1:?usage: image.sh NAME [STAGES_DIR]} stages=${2:-} root=$(cd "$here/../.." && pwd)
dist=${PODLINE_IMAGE_DIST:-$root/dist}
[ -d "$dist/sidecars" ] || die "$dist is not built: npm run build"

node=$(readlink -f "$(node -p process.execPath)")
base=("$node:/usr/local/bin/node")
while read -r library; do base+=("$library:$library"); done < <(ldd "$node" | grep -oE '/[^ ]+' | sort -u)
# Natives of packages need what node itself does not.
for library in libdl.so.2 libpthread.so.0 libstdc++.so.6 libgcc_s.so.1; do
  path=$(ldconfig -p | awk -v l="$library" '$1 == l && /x86-64|AArch64/ {print $NF; exit}')
  [ -z "$path" ] || [[ " ${base[*]} " == *":$path "* ]] || base+=("$path:$path")
done
layers=(--layer "${base[@]}")
if [ -z "${PODLINE_IMAGE_DIST:-}" ]; then
  packages=()
  while read -r folder; do packages+=("$root/$folder:/podline/$folder"); done < <(node "$here/runtime-packages.mjs" "$root")
  layers+=(--layer "${packages[@]}")
  for native in "$root"/native/{prebuilds,build}; do [ ! -d "$native" ] || layers+=(--layer "$native:/podline/native/${native##*/}"); done
fi
layers+=(--layer "$root/package.json:/podline/package.json" "$dist:/podline/dist")
[ -z "$stages" ] || layers+=(--layer "$stages:/podline/stages")
digest=$("$here/mkimage.py" push "$registry" "$name:latest" --entrypoint '["node", "/podline/dist/sidecars/shim/main.js"]' \
  --env NODE_ENV=production --env PODLINE_STAGES_DIR=/podline/stages --user 10001:10001 --workdir /podline "${layers[@]}")
echo "$registry_name/$name@$digest"
