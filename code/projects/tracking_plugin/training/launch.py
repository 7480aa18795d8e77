"""torchrun, with the exit status of our command lines: 2 when a worker met a user's mistake.

``python -m projects.tracking_plugin.training.launch [torchrun options] SCRIPT ARGS``
"""

from __future__ import annotations

import logging
import sys


def main(arguments: list[str]) -> int:
    """Run torchrun. Returns 0, 2 (a worker exited so, having said why) or 1."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        run(parse_args(["--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1", *arguments]))
    except ChildFailedError as error:
        codes = {failure.exitcode for failure in error.failures.values()}
        if 2 in codes:
            return 2
        print(error, file=sys.stderr)
        return 1
    except SignalException as error:
        print(f"stopped by {error.sigval.name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
