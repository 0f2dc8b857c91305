# What the scripts of the test cluster share. Sourced, never run.
#
# Everything that the cluster starts carries PODLINE_CLUSTER_MARK=<state>:<node> in its environment, lives in cgroups named
# podline-node<N>, and uses links named podline*: cleaning up means ending exactly that, also after a run that died half-way.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PODLINE_CACHE:-$HOME/.cache/podline}
bin=$cache/cluster-bin
state=${PODLINE_CLUSTER_STATE:-/tmp/podline-cluster}
export PATH=$PATH:$bin

kube_version=v1.34.4
kruise_version=v1.8.3
pause_image=registry.k8s.io/pause:3.10 # the name that containerd asks for; the image is built here, see pause.c
kruise_image=local/kruise:${kruise_version#v}

# One network for all nodes: 10.88.0.1 is this machine (API server, registry, and whatever a test listens with),
# 10.88.0.1N node N. Pods of node N are 10.244.N.0/24; services 10.96.0.0/16.
machine_ip=10.88.0.1
registry=$machine_ip:15000     # as this machine pushes
registry_name=registry.local:5000 # as pods name it
services=10.96.0.0/16 services_chain=PODLINE-SERVICES
etcd=http://127.0.0.1:23790
kubeconfig=$state/admin.kubeconfig

say() { printf '%s\n' "cluster: $*" >&2; }
die() { say "$*"; exit 1; }

until_ok() { # SECONDS COMMAND...: waits for success
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || { say "timed out waiting for: $*"; return 1; }
    sleep 0.1
  done
}

start() { # NODE FOLDER NAME COMMAND...: a marked process in a session of its own; in FOLDER: NAME.log, NAME.pid, and NAME.cmd to start it again by
  local node=$1 folder=$2 name=$3; shift 3
  printf '%s\0' "$@" > "$folder/$name.cmd"
  PODLINE_CLUSTER_MARK=$state:$node setsid nohup "$@" >> "$folder/$name.log" 2>&1 < /dev/null &
  echo $! > "$folder/$name.pid"
}

marked() { # NODE, or nothing for all: pids of the processes that carry the mark
  local environ
  for environ in /proc/[0-9]*/environ; do
    if grep -zqxE "PODLINE_CLUSTER_MARK=$state:${1:-.*}" "$environ" 2>/dev/null; then
      environ=${environ#/proc/}; echo "${environ%/environ}"
    fi
  done
}

gone() { local pid; for pid in "$@"; do [ ! -e "/proc/$pid" ] || [ "$(awk '{print $3}' "/proc/$pid/stat" 2>/dev/null)" = Z ] || return 1; done; }

end() { # SIGNAL PIDS...: signals, and waits until they are gone
  local signal=$1; shift
  [ $# -eq 0 ] && return 0
  kill "-$signal" "$@" 2>/dev/null || true
  until_ok "${end_wait:-5}" gone "$@"
}

process_folder() { # control, or the number of a node: where its processes are written down
  if [ "$1" = control ]; then echo "$state/log"; else echo "$state/nodes/$1"; fi
}

signal_process() { # WHERE NAME SIGNAL: to one process, and none that it has started; after KILL it waits until it is gone
  local pid; pid=$(cat "$(process_folder "$1")/$2.pid")
  if [ "$3" = KILL ]; then end KILL "$pid"; else kill "-$3" "$pid"; fi
}

start_again() { # WHERE NAME: as it was started before; returns when it answers
  local folder node command
  folder=$(process_folder "$1"); node=$1; [ "$1" = control ] || node=node$1
  mapfile -d '' -t command < "$folder/$2.cmd"
  start "$node" "$folder" "$2" "${command[@]}"
  case $2 in
    apiserver) until_ok 60 healthy ;;
    registry) until_ok 30 listens "$registry" ;;
    containerd) until_ok 30 in_node "$1" ctr version ;;
    kubelet) until_ok 60 in_node "$1" bash -c ': < /dev/tcp/127.0.0.1/10248' ;;
  esac
}

listens() { bash -c ": < /dev/tcp/${1%:*}/${1##*:}" 2>/dev/null; }

is_v2() { [ -f /sys/fs/cgroup/cgroup.controllers ]; }

make_cgroups() { # NAME: the root under which a node keeps its pods
  local controller
  if is_v2; then
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true; done
    mkdir -p "/sys/fs/cgroup/$1"; return
  fi
  for controller in /sys/fs/cgroup/*/; do
    case $controller in */unified/) ;; *) mkdir -p "$controller$1" 2>/dev/null || true ;; esac
  done
  for controller in cpus mems; do cat "/sys/fs/cgroup/cpuset/cpuset.$controller" > "/sys/fs/cgroup/cpuset/$1/cpuset.$controller"; done
}

cgroup_pids() { # NAME
  local tree=/sys/fs/cgroup/pids/$1; is_v2 && tree=/sys/fs/cgroup/$1
  [ ! -d "$tree" ] || find "$tree" -name cgroup.procs -exec cat {} + 2>/dev/null || true
}

remove_cgroups() { # NAME
  local tree
  for tree in /sys/fs/cgroup/"$1" /sys/fs/cgroup/*/"$1"; do
    [ ! -d "$tree" ] || find "$tree" -depth -type d -exec rmdir {} \; 2>/dev/null || true
  done
}

end_node() { # N: everything of the node dies at once, as in a machine that loses its power
  local pids; pids=$(marked "node$1"; cgroup_pids "podline-node$1")
  # shellcheck disable=SC2086
  [ -z "$pids" ] || end KILL $pids || say "some processes of node$1 have not ended"
  ip link del "podline-n$1" 2>/dev/null || true
  ip route del "10.244.$1.0/24" 2>/dev/null || true
  remove_cgroups "podline-node$1"
}

in_node() { # N COMMAND...: in the node's own mounts and network
  local pid; pid=$(cat "$state/nodes/$1/holder.pid"); shift
  nsenter -t "$pid" -m -n "$@"
}

certificate() { # NAME CN O [SAN]: signed by the cluster's own authority
  local pki=$state/pki
  openssl req -newkey rsa:2048 -nodes -keyout "$pki/$1.key" -out "$pki/$1.csr" -subj "/O=$3/CN=$2" 2>/dev/null
  openssl x509 -req -in "$pki/$1.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 365 -out "$pki/$1.crt" \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=clientAuth,serverAuth\n' "${4:-DNS:$1}") 2>/dev/null
}

kubeconfig_for() { # NAME FILE
  local pki=$state/pki
  cat > "$2" <<Y
apiVersion: v1
kind: Config
clusters: [{name: podline, cluster: {server: "https://$machine_ip:6443", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$pki/$1.crt"), client-key-data: $(base64 -w0 "$pki/$1.key")}}]
contexts: [{name: podline, context: {cluster: podline, user: $1}}]
current-context: podline
Y
  chmod 600 "$2"
}

program_files() { # PROGRAM TARGET: the program and the libraries that it needs, as SOURCE:TARGET lines for mkimage.py
  echo "$(readlink -f "$1"):$2"
  ldd "$1" 2>/dev/null | grep -oE '/[^ ]+' | sort -u | sed 's/.*/&:&/'
}

made_by() { cat "$here"/{lib,build,up,node,kruise}.sh | sha256sum | cut -d' ' -f1; } # the scripts by which a cluster is what it is
healthy() { [ -f "$kubeconfig" ] && kubectl --kubeconfig="$kubeconfig" --request-timeout=3s get --raw /readyz >/dev/null 2>&1; }
node_ready() { [ "$(kubectl --kubeconfig="$kubeconfig" get node "node$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')" = True ]; }
