"""What each of two processes does in test_several.py: `featune finetune`, and what it printed kept beside."""

import contextlib
import io
import os
import sys
from pathlib import Path

import torch


def main(arguments: list[str], said: Path) -> int:
    torch.set_num_threads(1)
    from featune.bench.cli.app import app

    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            app(arguments, standalone_mode=False)
        code = 0
    except SystemExit as error:
        code = int(error.code or 0)
    said.write_text(out.getvalue())
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:], Path(sys.argv[1] + os.environ.get("RANK", ""))))
