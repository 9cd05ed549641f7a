"""What each of two processes does in test_processes.py: an error of the first one, for which the second one waits."""

import os

from featune.engine.errors import BadInput, SaidElsewhere
from featune.engine.finetune import joined, wait


def main(rank: int) -> None:
    try:
        with joined("cpu"):
            wait()
            if rank == 0:
                raise BadInput("one class")
            wait()
    except SaidElsewhere as error:
        print(f"said elsewhere, {error.exit_code}")
    except BadInput as error:
        print(error)


if __name__ == "__main__":
    main(int(os.environ["RANK"]))
