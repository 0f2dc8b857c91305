#!/usr/bin/env bash
# Makes an image that knows nothing of Podline, from Debian packages of this machine, puts it into the cluster's registry, and prints its
# name, pinned by digest.
# usage: foreign-image.sh busybox          one static binary (busybox-static) under all its names
#        foreign-image.sh python [FILE…]   Python 3 with its library, and FILEs in its working directory
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
kind=${1:?usage: foreign-image.sh busybox|python [FILE…]}; shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
layers=() options=(--workdir /app)
case $kind in
  busybox)
    # Debian's package, and not its brother with libraries.
    busybox=$(command -v busybox) || die 'no busybox: apt-get install busybox-static'
    ldd "$busybox" >/dev/null 2>&1 && die "$busybox is not static: apt-get install busybox-static"
    mkdir "$folder/bin"
    for applet in $("$busybox" --list); do [ "$applet" = busybox ] || ln -s /bin/busybox "$folder/bin/$applet"; done
    layers+=(--layer "$folder/bin:/bin" "$busybox:/bin/busybox") ;;
  python)
    python=$(readlink -f "$(PATH=/usr/bin:/bin command -v python3)") library=/usr/lib/python${version:=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')}
    files=()
    while read -r file; do files+=("$file"); done < <(program_files "$python" /usr/bin/python3
      for native in "$library"/lib-dynload/_{bz2,ctypes,hashlib,lzma,ssl}.*.so; do program_files "$native" "$native"; done | sort -u)
    layers+=(--layer "${files[@]}" --layer "$library:$library") ;;
  *) die "no image of the kind $kind" ;;
esac
for file in "$@"; do cp "$file" "$folder/"; layers+=(--layer "$folder/${file##*/}:/app/${file##*/}"); done
digest=$("$here/mkimage.py" push "$registry" "foreign/$kind:latest" "${options[@]}" --open /app "${layers[@]}")
echo "$registry_name/foreign/$kind@$digest"
