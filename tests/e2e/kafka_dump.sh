#!/bin/bash
# Kafka's own dump tool reads a cleanly stopped data directory: logs, indexes and producer snapshots, with
# its sanity checks. Needs Maven and a JDK (Kafka's jars come from Maven Central), so it is not in tools/test.
#
#   tests/e2e/kafka_dump.sh DATA_DIR [WORK_DIR]
#
# Prints a line per partition; exits 1 at the first complaint of the tool.
set -euo pipefail

version=4.1.1
data=${1:?usage: tests/e2e/kafka_dump.sh DATA_DIR [WORK_DIR]}
work=${2:-$(mktemp -d)}
mkdir -p "$work"

if [ ! -d "$work/lib" ]; then
  cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>dump</groupId><artifactId>dump</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
  </dependencies>
</project>
POM
  mvn -q -f "$work/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/lib"
fi

for partition in "$data"/*-[0-9]*/; do
  files=$(find "$partition" -name '*.log' -o -name '*.index' -o -name '*.timeindex' -o -name '*.snapshot' | sort)
  [ -n "$files" ] || continue
  list=$(echo "$files" | paste -sd,)
  for options in "--index-sanity-check" "--deep-iteration"; do
    java -cp "$work/lib/*" kafka.tools.DumpLogSegments $options --files "$list" >"$work/out" 2>&1 ||
      { cat "$work/out"; exit 1; }
    if grep -E -i 'exception|mismatch|corrupt|isvalid: false|not found in|out of order' "$work/out"; then
      echo "$partition: DumpLogSegments $options complains" >&2
      exit 1
    fi
  done
  echo "$(basename "$partition"): $(echo "$files" | wc -l) files, $(grep -c '^baseOffset' "$work/out" || true) batches, no complaint"
done
