#!/bin/bash
# build.sh CLIENT OUT: a virtual environment in OUT with what CLIENT's requirements.txt pins.
set -euo pipefail
cd "$(dirname "$0")/../$1"
cmp -s requirements.txt "$2/requirements.txt" && exit 0
python3 -m venv --clear "$2/venv"
"$2/venv/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.txt
cp requirements.txt "$2"
