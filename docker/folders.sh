#!/bin/bash
# Folders that any user can write, since `docker run --user` brings users that the image does not know.
# usage: folders.sh; ROOT: where they are made, of tests.
set -euo pipefail
mkdir -p "${ROOT:-}/work" "${ROOT:-}/cache"
chmod 1777 "${ROOT:-}/work" "${ROOT:-}/cache"
