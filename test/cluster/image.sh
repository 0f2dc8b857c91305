#!/usr/bin/env bash
# Makes the runtime image (Dockerfile) without a daemon, from this machine's node, what scripts/image-contents.mjs lists, and pipelines
# that `podline build` has bundled; puts it into the cluster's registry, and prints the name by which pods pull it, pinned by digest. The
# lower layers stay the same from one image to the next: a change of one stage sends one small layer.
# usage: image.sh NAME [PIPELINES_DIR]       (NAME without a tag, e.g. podline/flights; dist/ must be built)
# PODLINE_IMAGE_EXTRA lists more files and folders as SOURCE:TARGET, such as a package that an input names.
# PODLINE_IMAGE_DIST names another folder in the place of dist/, without packages: for tests that need containers of their own.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
name=${1:?usage: image.sh NAME [PIPELINES_DIR]} pipelines=${2:-} root=$(cd "$here/../.." && pwd)
[ -d "$root/dist/sidecars" ] || die "$root/dist is not built: npm run build"
"$root/sidecars/shim-static/build.sh"

layers=(--layer)
while read -r file; do layers+=("$file"); done < <(program_files "$(node -p process.execPath)" /usr/local/bin/node)
# Natives of packages need what node itself does not.
for library in libdl.so.2 libpthread.so.0 libstdc++.so.6 libgcc_s.so.1; do
  # To its end: who stops reading early ends ldconfig by SIGPIPE, and with it this script, now and then and without a word.
  path=$(ldconfig -p | awk -v l="$library" '$1 == l && /x86-64|AArch64/ && !found {found = 1; print $NF}')
  [ -z "$path" ] || [[ " ${layers[*]} " == *":$path "* ]] || layers+=("$path:$path")
done
if [ -n "${PODLINE_IMAGE_DIST:-}" ]; then
  layers+=(--layer "$root/bin/podline-shim:/podline/bin/podline-shim" --layer "$root/package.json:/podline/package.json" "$PODLINE_IMAGE_DIST:/podline/dist")
else
  while read -r layer; do
    # shellcheck disable=SC2206
    layers+=(--layer $layer)
  done < <(node "$root/scripts/image-contents.mjs" layers)
fi
# shellcheck disable=SC2206
[ -z "${PODLINE_IMAGE_EXTRA:-}" ] || layers+=(--layer $PODLINE_IMAGE_EXTRA)
[ -z "$pipelines" ] || layers+=(--layer "$pipelines:/podline/pipelines")
mapfile -t config < <(node "$root/scripts/image-contents.mjs" config)
digest=$("$here/mkimage.py" push "$registry" "$name:latest" "${config[@]}" "${layers[@]}")
echo "$registry_name/$name@$digest"
