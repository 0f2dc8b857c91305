#!/usr/bin/env bash
# A real Kubernetes with OpenKruise on this machine, for tests.
#
#   cluster.sh up            builds what is not in the cache, starts control plane, registry and node 0, installs OpenKruise
#   cluster.sh join N        one more node
#   cluster.sh kill N        node N dies
#   cluster.sh image …       puts Podline's image into the registry, prints its name with digest (see image.sh)
#   cluster.sh status        exit 0 when it is up
#   cluster.sh down          ends all of it
#
# PODLINE_CLUSTER_STATE (default /tmp/podline-cluster) holds its state, PODLINE_CACHE (default ~/.cache/podline) the binaries.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command=${1:-}; shift || true
case $command in
  up)
    "$here/build.sh"; "$here/up.sh"; "$here/kruise.sh"
    echo "$kubeconfig" ;;
  join | kill) "$here/node.sh" "$command" "$@" ;;
  image) "$here/image.sh" "$@" ;;
  status) healthy && kubectl --kubeconfig="$kubeconfig" get nodes ;;
  down) "$here/down.sh" ;;
  *) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
