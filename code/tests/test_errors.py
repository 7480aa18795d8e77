"""How a command line ends."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

MANY = "print('a line\\n' * 100_000)"
BEGIN = "import sys; from pftrack.errors import run_cli; "


def ended(code: str, **streams) -> tuple[int, str]:
    """Exit status and stderr of a Python program whose stdout nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", BEGIN + code],
            **{"stdout": writer, "stderr": subprocess.PIPE, "text": True, **streams},
        )
    finally:
        os.close(writer)
    return done.returncode, done.stderr or ""


@pytest.mark.process
@pytest.mark.parametrize(
    "text", [MANY, "print('one')", "sys.stdout.write('no end')", "sys.exit(print('help'))"]
)
def test_a_reader_that_leaves_is_no_error(text: str) -> None:
    assert ended(f"run_cli(lambda: ({text}, None)[1])") == (141, "")


@pytest.mark.process
def test_no_output_at_all_is_no_error() -> None:
    code = f"{BEGIN}import os; run_cli(lambda: print(1) or os.open('/dev/null', 0) * 0 + 3)"
    assert subprocess.run(["sh", "-c", '"$0" -c "$1" >&-', sys.executable, code]).returncode == 3


@pytest.mark.process
def test_another_broken_pipe_is_a_bug() -> None:
    code = "import os; r, w = os.pipe(); os.close(r); run_cli(lambda: os.write(w, b'!') and 0)"
    status, said = ended(code, stdout=subprocess.DEVNULL)
    assert status == 1
    assert said.rstrip().endswith("BrokenPipeError: [Errno 32] Broken pipe")
