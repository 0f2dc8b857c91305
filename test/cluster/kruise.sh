#!/usr/bin/env bash
# Installs OpenKruise into the cluster, unless it is there, and waits until its webhooks answer. About 12 s.  usage: kruise.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export KUBECONFIG=$kubeconfig
# There is one manager. Electing itself, it would end whenever the API server is away, and come back when its back-off wants; and its log is
# not read. What is there already stays as it is: a new manager in the place of the old one would be away for a moment.
if ! kubectl -n kruise-system get deploy/kruise-controller-manager >/dev/null 2>&1; then
  sed 's/--enable-leader-election$/--enable-leader-election=false/; s/--v=5$/--v=1/' "$bin/kruise.yaml" | kubectl apply --server-side -f - >/dev/null
fi
kubectl -n kruise-system rollout status deploy/kruise-controller-manager --timeout=120s >/dev/null
# Available is not yet reachable: a dry run goes through the webhooks and changes nothing. Each try reads the object anew.
probe='{"apiVersion":"apps.kruise.io/v1beta1","kind":"StatefulSet","metadata":{"name":"probe","namespace":"default"},"spec":{"replicas":0,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"none"}]}}}}'
webhooks_answer() { kubectl create --dry-run=server -f - <<< "$probe"; }
until_ok 60 webhooks_answer
say "OpenKruise ${kruise_version} is installed"
