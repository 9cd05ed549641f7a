#!/bin/bash
# Featune and the libraries that the tests passed with, in a virtual environment of their own.
# usage: [TENSORRT=10.16.1.11] install.sh SOURCE VENV
set -euo pipefail
source=$1 venv=$2
python3 -m venv "$venv"
wanted=("$source")
if [ -n "${TENSORRT:-}" ]; then
  wanted+=("tensorrt-cu13==$TENSORRT")
fi
"$venv/bin/python" -m pip install --no-cache-dir -c "$source/constraints.txt" "${wanted[@]}"
# Both would lie in one folder, and the last one installed wins in silence.
if "$venv/bin/python" -m pip show --quiet onnxruntime 2>/dev/null; then
  echo "onnxruntime came beside onnxruntime-gpu; one of the packages asks for it" >&2
  exit 1
fi
# Triton, a gigabyte, serves torch.compile alone, which needs a C compiler besides: the image has none.
# No tool is left with which the image could be changed.
"$venv/bin/python" -m pip uninstall --yes triton pip
