#!/usr/bin/env bash
# Builds Kubernetes and OpenKruise from their Go modules into the cache, unless the same versions are there already.
# About 8 minutes on 2 cores the first time. Needs Go, gcc, Python 3.  usage: build.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
mkdir -p "$bin/images"
exec 9> "$bin/.lock"; flock 9 # two builds at once would write the same files
export CGO_ENABLED=0 GOFLAGS="-mod=mod -buildvcs=false -trimpath"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

is_built() { go version -m "$bin/$1" 2>/dev/null | grep -E "(dep|mod)[[:space:]]+$2[[:space:]]+$3([[:space:]]|\$)" >/dev/null; }

build() { # MODULE_FOLDER NAME PACKAGE MODULE VERSION
  is_built "$2" "$4" "$5" && return
  [ -d "$work/$1" ] || cp -r "$here/$1" "$work/$1"
  say "building $2 $5"
  (cd "$work/$1" && go build -ldflags "-s -w ${ldflags:-}" -o "$bin/$2.part" "$3")
  mv "$bin/$2.part" "$bin/$2"
}

stamp=k8s.io/component-base/version
ldflags="-X $stamp.gitVersion=$kube_version -X $stamp.gitMajor=1 -X $stamp.gitMinor=$(cut -d. -f2 <<< "$kube_version")"
programs=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy)
command -v kubectl >/dev/null && [ ! -x "$bin/kubectl" ] || programs+=(kubectl)
for program in "${programs[@]}"; do build kube "$program" "k8s.io/kubernetes/cmd/$program" k8s.io/kubernetes "$kube_version"; done
ldflags=
kruise=github.com/openkruise/kruise
build kruise kruise-manager "$kruise" "$kruise" "$kruise_version"
build kruise kruise-daemon "$kruise/cmd/daemon" "$kruise" "$kruise_version"

if [ ! -f "$bin/images/pause.tar" ] || [ "$here/mkimage.py" -nt "$bin/images/pause.tar" ] || [ "$here/pause.c" -nt "$bin/images/pause.tar" ]; then
  gcc -static -Os -s -o "$work/pause" "$here/pause.c"
  "$here/mkimage.py" archive "$bin/images/pause.tar" "$pause_image" --entrypoint '["/pause"]' --layer "$work/pause:/pause"
fi
if [ ! -f "$bin/images/kruise.tar" ] || [ "$here/mkimage.py" -nt "$bin/images/kruise.tar" ] || [ "$bin/kruise-manager" -nt "$bin/images/kruise.tar" ]; then
  "$here/mkimage.py" archive "$bin/images/kruise.tar" "$kruise_image" --entrypoint '["/manager"]' --open /log --layer "$bin/kruise-manager:/manager" "$bin/kruise-daemon:/kruise-daemon"
fi
# OpenKruise's own manifests, rendered for the image above.
if [ ! -s "$bin/kruise.yaml" ] || [ "$bin/kruise-manager" -nt "$bin/kruise.yaml" ]; then
  [ -d "$work/kruise" ] || cp -r "$here/kruise" "$work/kruise"
  (cd "$work/kruise" && go mod download "$kruise")
  cp -r "$(cd "$work/kruise" && go list -m -f '{{.Dir}}' "$kruise")/config" "$work/config"; chmod -R u+w "$work/config"
  kubectl kustomize "$work/config/default" 2>/dev/null |
    sed "s#image: controller:latest#image: $kruise_image#; s#imagePullPolicy: Always#imagePullPolicy: IfNotPresent#" > "$work/kruise.yaml"
  [ -s "$work/kruise.yaml" ] && mv "$work/kruise.yaml" "$bin/kruise.yaml"
fi
