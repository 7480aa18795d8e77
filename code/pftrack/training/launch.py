"""torchrun, with restarts that find each other and mistakes that are said once.

``python -m pftrack.training.launch [torchrun options] SCRIPT ARGS``

A worker that dies is restarted with all others. A worker that met a user's mistake is not: the
restart would meet it again, so the workers hand the mistake to the launcher (:func:`hand_over`),
end at once (:func:`is_over`), and the launcher says it in one line.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from pftrack.errors import fail

_MISTAKE = "PFTRACK_MISTAKE_FILE"  # variable with the file that holds the first mistake
_BEGUN = "PFTRACK_LAUNCHED"  # variable with the time the launcher began, s
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run torchrun. Returns 0 or 1; leaves with 2 and one line after a worker's mistake."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    # By default torchrun (2.4 to 2.11) keeps one store for all rounds: after a restart a worker
    # may read the address that its peer had before, and gets "connection refused" or waits.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    with tempfile.TemporaryDirectory(prefix="pftrack_launch_") as folder:
        mistake = Path(folder, "mistake")
        os.environ[_MISTAKE] = str(mistake)
        os.environ[_BEGUN] = str(time.time())
        signals = "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
        try:
            run(parse_args([signals, *arguments]))
        except ChildFailedError as error:
            if mistake.is_file():
                fail(mistake.read_text())
            print(error, file=sys.stderr)
            return 1
        except SignalException as error:
            print(f"stopped by {error.sigval.name}", file=sys.stderr)
    return 0


def end_with_launcher() -> None:
    """In a worker: SIGTERM (save, end) when the launcher is killed; nobody else would send it."""
    if _MISTAKE in os.environ:
        end_with_parent()


def end_with_parent() -> None:
    """In a new process: SIGTERM when the one that started it is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def restarted_since() -> float | None:
    """In a worker that was started again: when the launcher began (s, Unix time); else None."""
    again = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
    return float(os.environ.get(_BEGUN, 0)) if again else None


def hand_over(message: str) -> bool:
    """In a worker: leave a user's mistake to the launcher. False when there is no launcher."""
    path = os.environ.get(_MISTAKE)
    if path is None:
        return False
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(message)
    except FileExistsError:
        pass  # the first worker's is enough
    return True


def is_over() -> bool:
    """In a worker: True once any worker of this machine met a user's mistake."""
    return _MISTAKE in os.environ and os.path.exists(os.environ[_MISTAKE])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
