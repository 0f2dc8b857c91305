#!/usr/bin/env bash
# Starts the control plane, the registry and node 0 on this machine. Does nothing where they run already; clears away what a
# dead run left, and a cluster that other scripts than these have made. About 10 s. Flags may be added by APISERVER_FLAGS and
# KCM_FLAGS.  usage: up.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "$(id -u)" = 0 ] || die "root is needed for containers, cgroups and links"
if healthy; then
  if [ "$(cat "$state/made-by" 2>/dev/null)" = "$(made_by)" ]; then say "is up already"; exit 0; fi
  say "is up, and was made by other scripts than these: it is brought up anew"
fi
"$here/down.sh"
for port in 6443 "${registry##*:}"; do
  [ -z "$(ss -Hltn "( sport = :$port )" | grep -E "(0\.0\.0\.0|\*|\[::\]|$machine_ip):$port")" ] || die "port $port is taken by another program: end it first"
done

mkdir -p "$state"/{pki,log,etcd,registry,volume,nodes}
chmod 755 "$state"; chmod 1777 "$state/volume"
ip link add podline-m type bridge; ip addr add "$machine_ip/24" dev podline-m; ip link set podline-m up
sysctl -qw net.ipv4.ip_forward=1
# The address of a Service leads nowhere until kube-proxy has a rule for it. Without this it would lead to this machine's gateway, and what
# answers there would be asked for as long as the connection lives.
iptables -N "$services_chain"; iptables -A "$services_chain" -d "$services" -j REJECT
for chain in OUTPUT FORWARD; do iptables -A "$chain" -j "$services_chain"; done

pki=$state/pki
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$pki/ca.key" -out "$pki/ca.crt" -subj /CN=podline-test -days 365 2>/dev/null
openssl genrsa -out "$pki/sa.key" 2048 2>/dev/null
openssl rsa -in "$pki/sa.key" -pubout -out "$pki/sa.pub" 2>/dev/null
certificate apiserver kube-apiserver podline "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,IP:127.0.0.1,IP:$machine_ip,IP:10.96.0.1"
certificate admin admin system:masters
certificate manager system:kube-controller-manager podline
certificate scheduler system:kube-scheduler podline
certificate proxy system:kube-proxy system:node-proxier
certificate aggregator front-proxy-client podline # the API server speaks for its users to aggregated APIs, such as external metrics
for user in admin manager scheduler proxy; do kubeconfig_for "$user" "$state/$user.kubeconfig"; done

printf 'version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: "%s"}\n' "$state/registry" "$registry" > "$state/registry.yml"
start control "$state/log" registry docker-registry serve "$state/registry.yml"
# The journal of a test cluster need not outlive the machine: no fsync.
start control "$state/log" etcd etcd --data-dir "$state/etcd" --unsafe-no-fsync --listen-client-urls "$etcd" --advertise-client-urls "$etcd" --listen-peer-urls http://127.0.0.1:23800 --initial-advertise-peer-urls http://127.0.0.1:23800 --initial-cluster default=http://127.0.0.1:23800
# What the coordinator writes, and nobody else: tests hold it against what it should.
cat > "$state/audit.yaml" <<Y
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: Metadata, users: ["system:serviceaccount:podline:podline-coordinator"], verbs: [create, update, patch, delete]}
  - {level: None}
Y
start control "$state/log" apiserver kube-apiserver --audit-policy-file="$state/audit.yaml" --audit-log-path="$state/log/audit.log" \
  --etcd-servers="$etcd" --service-cluster-ip-range=$services \
  --secure-port=6443 --bind-address="$machine_ip" --advertise-address="$machine_ip" \
  --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
  --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
  --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key" --kubelet-preferred-address-types=InternalIP \
  --requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy-client --requestheader-username-headers=X-Remote-User \
  --requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
  --proxy-client-cert-file="$pki/aggregator.crt" --proxy-client-key-file="$pki/aggregator.key" \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged ${APISERVER_FLAGS:-}
until_ok 60 healthy || { tail -n 20 "$state/log/apiserver.log" "$state/log/etcd.log" >&2; exit 1; }
# A node that dies is missed after 20 s, and not after the 50 of a large cluster: its kubelet says every 3 s that it lives. An HPA looks
# every 3 s, and not every 15.
start control "$state/log" manager kube-controller-manager --kubeconfig="$state/manager.kubeconfig" --service-account-private-key-file="$pki/sa.key" \
  --root-ca-file="$pki/ca.crt" --use-service-account-credentials --leader-elect=false --bind-address=127.0.0.1 \
  --node-monitor-grace-period=20s --horizontal-pod-autoscaler-sync-period=3s ${KCM_FLAGS:-}
start control "$state/log" scheduler kube-scheduler --kubeconfig="$state/scheduler.kubeconfig" --leader-elect=false --bind-address=127.0.0.1
"$here/node.sh" join 0
made_by > "$state/made-by"
say "is up: export KUBECONFIG=$kubeconfig"
