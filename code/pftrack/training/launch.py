"""torchrun, with restarts that find each other and mistakes that are said once.

``python -m pftrack.training.launch [torchrun options] SCRIPT ARGS``

A worker that dies is restarted with all others. A worker that met a user's mistake is not: the
restart would meet it again, so it hands the mistake to the launcher, all workers end at once, and
the launcher says it in one line.

At once means without taking the process group apart: a worker that waits for the others in one of
NCCL's collectives learns nothing of their end, and NCCL may wait for it to leave the group. So the
one that failed just ends (:func:`end_worker`), and the others watch for the mistake
(:func:`end_with_launcher`).
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import NoReturn

from pftrack.errors import UserError, fail, user_message
from pftrack.processes import end_with_parent
from pftrack.training import rendezvous

_MISTAKE = "PFTRACK_MISTAKE_FILE"  # variable with the file that holds the first mistake
_BEGUN = "PFTRACK_LAUNCHED"  # variable with the time the launcher began, s


def main(arguments: list[str]) -> int:
    """Run torchrun. Returns the exit status; leaves with 2 and one line after a user's mistake."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.run import parse_args, run

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    # By default torchrun (2.4 to 2.11) keeps one store for all rounds: after a restart a worker
    # may read the address that its peer had before, and gets "connection refused" or waits.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    stopped = stopped_status()
    os.environ.pop("STOPPED_STATUS", None)  # a worker that is stopped has done what it should
    with tempfile.TemporaryDirectory(prefix="pftrack_launch_") as folder:
        mistake = Path(folder, "mistake")
        os.environ[_MISTAKE] = str(mistake)
        os.environ[_BEGUN] = str(time.time())
        signals = "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
        args = parse_args([signals, *arguments])
        point = None
        try:
            point = rendezvous.prepare(args)
            run(args)
        except UserError as error:
            fail(str(error))
        except RendezvousError as error:
            line, status = rendezvous.explain(error, point)
            print(f"error: {line}", file=sys.stderr)
            return status
        except ChildFailedError as error:
            if mistake.is_file():
                fail(mistake.read_text())
            print(error, file=sys.stderr)
            return 1
        except SignalException as error:
            print(f"stopped by {error.sigval.name}", file=sys.stderr)
            return stopped
    return 0


def stopped_status() -> int:
    """Exit status of a training that a signal ended early: STOPPED_STATUS (0).

    A pod that ends with 0 is done for Kubernetes; one that was evicted is not.
    """
    return int(os.environ.get("STOPPED_STATUS") or 0)


def end_with_launcher() -> None:
    """In a worker: end when the launcher is killed (SIGTERM: save, end; nobody else would send
    it) and, wherever this worker waits, once another one met a user's mistake."""
    if _MISTAKE in os.environ:
        end_with_parent(signal.SIGTERM)
        threading.Thread(target=_end_after_a_mistake, daemon=True).start()


def _end_after_a_mistake() -> None:
    never = threading.Event()
    while not is_over():
        never.wait(0.5)
    _leave(2)


def restarted_since() -> float | None:
    """In a worker that was started again: when the launcher began (s, Unix time); else None."""
    again = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
    return float(os.environ.get(_BEGUN, 0)) if again else None


def end_worker(error: Exception) -> None:
    """In a worker that ``error`` stops: end the process at once; without a launcher: return.

    A user's mistake is left to the launcher to say. After another worker's, whatever it did to
    this one (a lost connection) goes unsaid; a bug is said here.
    """
    path = os.environ.get(_MISTAKE)
    if path is None:
        return
    message = user_message(error)
    if message is not None:
        _hand_over(Path(path), message)
    if is_over():
        _leave(2)
    traceback.print_exception(error)
    _leave(1)


def leave_worker(status: int) -> None:
    """In a worker that has done its work: end the process; without a launcher: return.

    What is registered for the end is done, the interpreter's own end is left out: on Python 3.13
    gloo's threads, which outlive the process group, abort one such end in ten, and torchrun would
    start a finished training again.
    """
    if _MISTAKE in os.environ:
        atexit._run_exitfuncs()
        _leave(status)


def _hand_over(path: Path, message: str) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_text(message, encoding="utf-8")
    with contextlib.suppress(FileExistsError):  # the first worker's is enough
        os.link(part, path)  # whole, or not at all: the others read it at any time


def _leave(status: int) -> NoReturn:
    """End without the interpreter's own end, which takes the process group apart."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def is_over() -> bool:
    """In a worker: True once any worker of this machine met a user's mistake."""
    return _MISTAKE in os.environ and os.path.exists(os.environ[_MISTAKE])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
