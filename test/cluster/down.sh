#!/usr/bin/env bash
# Ends the cluster and removes its state: every process that carries its mark, its pods, links, cgroups and rules, and nothing
# else. May be run at any time, also after a run that died half-way.  usage: down.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "$(id -u)" = 0 ] || die "root is needed"
shopt -s nullglob
for folder in "$state"/nodes/*/; do end_node "$(basename "$folder")"; done
control=$(marked)
if [ -n "$control" ]; then
  # shellcheck disable=SC2086
  end_wait=3 end TERM $control 2>/dev/null || end KILL $(marked) || say "some processes have not ended"
fi
for cgroup in /sys/fs/cgroup/pids/podline-node* /sys/fs/cgroup/podline-node*; do end_node "${cgroup##*/podline-node}"; done
# Rules of kube-proxy and kubelet; the nodes' other than 0 went with their networks.
if [ -n "$(iptables-save 2>/dev/null | grep '^:KUBE-')" ]; then
  [ ! -x "$bin/kube-proxy" ] || "$bin/kube-proxy" --cleanup >/dev/null 2>&1 || true
  for tables in iptables ip6tables; do
    for chain in INPUT OUTPUT; do "$tables" -D "$chain" -j KUBE-FIREWALL 2>/dev/null || true; done
    for chain in filter/KUBE-FIREWALL {filter,nat,mangle}/KUBE-{KUBELET-CANARY,IPTABLES-HINT}; do
      "$tables" -t "${chain%/*}" -F "${chain#*/}" 2>/dev/null && "$tables" -t "${chain%/*}" -X "${chain#*/}" 2>/dev/null || true
    done
  done
fi
for chain in OUTPUT FORWARD; do iptables -D "$chain" -j "$services_chain" 2>/dev/null || true; done
iptables -F "$services_chain" 2>/dev/null && iptables -X "$services_chain" || true
for link in podline-m podline0; do ip link del "$link" 2>/dev/null || true; done
rm -rf /var/lib/cni/results/podline-node* 2>/dev/null || true
# Mounts die with the nodes' namespaces; one that is left here would make rm reach into it.
! grep -q " $state/" /proc/mounts || { grep " $state/" /proc/mounts | awk '{print $2}' | sort -r | xargs -r -n1 umount -l; }
rm -rf "${state:?}"
