#!/bin/bash
# build.sh OUT: the driver as OUT/driver; Cargo.lock pins what is fetched. librdkafka is compiled with it.
set -euo pipefail
cd "$(dirname "$0")"
cargo build --quiet --locked --target-dir "$1/target"
cp "$1/target/debug/driver" "$1/driver"
