#!/usr/bin/env bash
# Installs OpenKruise into the cluster and waits until its webhooks answer. About 12 s.  usage: kruise.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export KUBECONFIG=$kubeconfig
kubectl apply --server-side -f "$bin/kruise.yaml" >/dev/null
kubectl -n kruise-system wait --for=condition=Available deploy/kruise-controller-manager --timeout=120s >/dev/null
# Available is not yet reachable: a dry run goes through the webhooks and changes nothing. Each try reads the object anew.
probe='{"apiVersion":"apps.kruise.io/v1beta1","kind":"StatefulSet","metadata":{"name":"probe","namespace":"default"},"spec":{"replicas":0,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"none"}]}}}}'
webhooks_answer() { kubectl create --dry-run=server -f - <<< "$probe"; }
until_ok 60 webhooks_answer
say "OpenKruise ${kruise_version} is installed"
