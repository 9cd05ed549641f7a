#!/bin/bash
# What the image needs of Ubuntu: the interpreter, and OpenMP, which scikit-learn's and torch's wheels look for.
# usage: system.sh [PACKAGE...]; ROOT: where the lists of packages lie, of tests.
set -euo pipefail
apt-get update
apt-get install -y --no-install-recommends python3 libgomp1 "$@"
rm -rf "${ROOT:-}"/var/lib/apt/lists/*
