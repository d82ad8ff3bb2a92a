#!/bin/bash
# build.sh OUT: package-lock.json's modules in OUT/node_modules, beside copies of the driver's files.
set -euo pipefail
cd "$(dirname "$0")"
cp ./*.js "$1"
cmp -s package-lock.json "$1/package-lock.json" && [ -d "$1/node_modules" ] && exit 0
cp package.json package-lock.json "$1"
npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund
