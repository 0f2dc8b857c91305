#!/usr/bin/env bash
# A real Kubernetes with OpenKruise on this machine, for tests.
#
#   cluster.sh up            builds what is not in the cache, starts control plane, registry and node 0, installs OpenKruise
#   cluster.sh join N        one more node
#   cluster.sh kill N        node N dies
#   cluster.sh kill-container N POD CONTAINER
#                            kill -9 of the processes of one container on node N; the kubelet starts it again
#   cluster.sh signal WHERE PROGRAM SIGNAL
#                            to apiserver, registry, manager or scheduler of `control`, or to kubelet or containerd of a node
#   cluster.sh again WHERE PROGRAM
#                            starts again what was killed so, as it was started before
#   cluster.sh image …       puts Podline's image into the registry, prints its name with digest (see image.sh)
#   cluster.sh foreign-image …
#                            puts an image that knows nothing of Podline there (see foreign-image.sh)
#   cluster.sh tool helm     builds helm from its Go module, prints where it is
#   cluster.sh status        exit 0 when it is up
#   cluster.sh down          ends all of it
#
# PODLINE_CLUSTER_STATE (default /tmp/podline-cluster) holds its state, PODLINE_CACHE (default ~/.cache/podline) the binaries.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command=${1:-}; shift || true
# One at a time, of those that change what runs; what they start does not inherit the lock (-o).
alone=(flock -o "$state.lock")
case $command in
  up)
    "$here/build.sh"
    "${alone[@]}" bash -c '"$0/up.sh" && "$0/kruise.sh"' "$here"
    echo "$kubeconfig" ;;
  join | kill) "$here/node.sh" "$command" "$@" ;;
  kill-container)
    [ $# -eq 3 ] || die "usage: cluster.sh kill-container N POD CONTAINER"
    # Those that have ended are listed too, and cannot be killed.
    killed=0
    for id in $(in_node "$1" ctr -n k8s.io containers ls -q "labels.\"io.kubernetes.pod.name\"==$2,labels.\"io.kubernetes.container.name\"==$3"); do
      in_node "$1" ctr -n k8s.io tasks kill -s SIGKILL "$id" 2>/dev/null && killed=$((killed + 1))
    done
    [ "$killed" -gt 0 ] || die "no container $3 of the pod $2 runs on node $1" ;;
  signal)
    [ $# -eq 3 ] || die "usage: cluster.sh signal control|N PROGRAM SIGNAL"
    signal_process "$@" ;;
  again)
    [ $# -eq 2 ] || die "usage: cluster.sh again control|N PROGRAM"
    start_again "$@" ;;
  tool)
    [ "${1:-}" = helm ] || die "usage: cluster.sh tool helm"
    "$here/helm.sh" ;;
  image) "$here/image.sh" "$@" ;;
  foreign-image) "$here/foreign-image.sh" "$@" ;;
  status) healthy && kubectl --kubeconfig="$kubeconfig" get nodes ;;
  down) "${alone[@]}" "$here/down.sh" ;;
  *) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
