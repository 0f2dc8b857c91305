#!/usr/bin/env bash
# Fetches the jars of Kafka for the tests, once: into ${PODLINE_CACHE:-~/.cache/podline}/kafka/3.9.1. Needs Maven and Java 17.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
into=${PODLINE_CACHE:-$HOME/.cache/podline}/kafka/3.9.1
[ -e "$into/kafka_2.13-3.9.1.jar" ] && exit 0
mkdir -p "${into%/*}"
beside=$(mktemp -d -p "${into%/*}")
trap 'rm -rf "$beside"' EXIT
cp "$here/pom.xml" "$beside/pom.xml"
mvn -q -B -f "$beside/pom.xml" dependency:copy-dependencies -DoutputDirectory="$beside/jars"
rm -rf "$into"
mv "$beside/jars" "$into"
