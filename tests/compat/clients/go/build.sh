#!/bin/bash
# build.sh CLIENT OUT: CLIENT's driver as OUT/driver; go.mod and go.sum pin what is fetched.
set -euo pipefail
cd "$(dirname "$0")"
go build -trimpath -o "$2/driver" "./$1"
