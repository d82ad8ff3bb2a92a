#!/bin/bash
# 200 groups of three members that join, commit, leave, stall and die while the broker is stopped and
# killed. GROUP_CHURN_SECONDS: for how long (180).
set -eu
exec python3 "$(dirname "$0")/group_churn.py"
