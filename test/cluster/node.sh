#!/usr/bin/env bash
# A node joins the cluster, or dies as a machine does that loses its power. Each node has mounts of its own: /run, and under
# /mnt the folders `ssd` (its own) and `volume` (one for all nodes). Node 0 is in the network of this machine, the others each
# in one of their own.  usage: node.sh join N | kill N      (N = 0..99; join takes about 4 s)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[[ ${2:-} =~ ^[0-9]{1,2}$ ]] || die "usage: node.sh join N | kill N"
n=$2 name=node$2 folder=$state/nodes/$2
[ "$1" = kill ] && { end_node "$n"; exit 0; }
[ "$1" = join ] || die "usage: node.sh join N | kill N"
healthy || die "the cluster is not up: run up first"
end_node "$n" # what an earlier node of that number left
rm -rf "${folder:?}"/{containerd,kubelet,cni}; mkdir -p "$folder"/{containerd,kubelet,cni,ssd}; chmod 1777 "$folder/ssd"

# The holder keeps the node's namespaces; all else of the node enters them.
private=--mount; [ "$n" = 0 ] || private="--mount --net"
# shellcheck disable=SC2086
start "$name" "$folder" holder unshare $private --propagation private sh -c '
  mount -t tmpfs tmpfs /run && mkdir -m 711 /run/containerd && mount -t tmpfs tmpfs /mnt && mkdir /mnt/ssd /mnt/volume &&
  mount --bind "$1/ssd" /mnt/ssd && mount --bind "$2/volume" /mnt/volume && exec sleep infinity' sh "$folder" "$state"
until_ok 10 in_node "$n" mountpoint -q /mnt/volume

if [ "$n" = 0 ]; then
  ip=$machine_ip
else
  ip=10.88.0.$((100 + n))
  ip link add "podline-n$n" type veth peer name eth0 netns "$(cat "$folder/holder.pid")"
  ip link set "podline-n$n" master podline-m up
  in_node "$n" sh -c "ip link set lo up; ip addr add $ip/24 dev eth0; ip link set eth0 up; ip route add default via $machine_ip; sysctl -qw net.ipv4.ip_forward=1"
  ip route replace "10.244.$n.0/24" via "$ip"
fi

cat > "$folder/cni/10-podline.conflist" <<J
{"cniVersion": "1.0.0", "name": "podline-$name", "plugins": [
  {"type": "bridge", "bridge": "podline$n", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$folder/cni/leases", "ranges": [[{"subnet": "10.244.$n.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
J
mkdir -p "$folder/containerd/certs.d/$registry_name"
printf 'server = "http://%s"\n[host."http://%s"]\n  capabilities = ["pull", "resolve"]\n' "$registry" "$registry" > "$folder/containerd/certs.d/$registry_name/hosts.toml"
# restrict_oom_score_adj: without it runc fails wherever the machine may not lower oom_score_adj.
cat > "$folder/containerd/config.toml" <<J
version = 2
root = "$folder/containerd/root"
state = "$folder/containerd/state"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$pause_image"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$folder/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$folder/containerd/certs.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
J
cat > "$folder/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
cgroupRoot: /podline-$name
failSwapOn: false
failCgroupV1: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $state/pki/$name.crt
tlsPrivateKeyFile: $state/pki/$name.key
enforceNodeAllocatable: []
evictionHard: {memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%"}
imageGCHighThresholdPercent: 100
resolvConf: ""
maxPods: 200
nodeLeaseDurationSeconds: 12
Y
certificate "$name" "system:node:$name" system:nodes "DNS:$name,IP:$ip"
kubeconfig_for "$name" "$folder/kubeconfig"
make_cgroups "podline-$name"

inside() { start "$name" "$folder" "$1" nsenter -t "$(cat "$folder/holder.pid")" -m -n "${@:2}"; }
inside containerd containerd -c "$folder/containerd/config.toml"
until_ok 30 in_node "$n" ctr version
for image in "$bin"/images/*.tar; do in_node "$n" ctr -n k8s.io images import "$image" >/dev/null; done
inside kubelet "$bin/kubelet" --config="$folder/kubelet.yaml" --kubeconfig="$folder/kubeconfig" --root-dir="$folder/kubelet" --node-ip="$ip" --hostname-override="$name"
inside kube-proxy "$bin/kube-proxy" --kubeconfig="$state/proxy.kubeconfig" --cluster-cidr=10.244.0.0/16 --hostname-override="$name" --conntrack-max-per-core=0 --proxy-mode=iptables
until_ok 60 node_ready "$n" || { tail -n 20 "$folder/kubelet.log" >&2; exit 1; }
say "$name is ready"
