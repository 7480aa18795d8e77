"""Notebooks as files: executed in a kernel with the project importable, stripped for git."""

from __future__ import annotations

import os
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from pftrack.errors import UserError
from pftrack.files import atomic
from pftrack.paths import CODE

FAST = "PFTRACK_NOTEBOOK_FAST"  # the notebooks' helpers use fewer frames when it is set


def execute(path: Path, out: Path, fast: bool = False, timeout: int = 900) -> float:
    """Run a notebook from its own folder and keep the executed copy, finished or not.

    Args:
        path: notebook.  out: folder for the copy.
        fast: few frames.
        timeout: seconds per cell.

    Returns:
        seconds it took.

    Raises:
        UserError: a cell failed; the copy shows where.
    """
    notebook = nbformat.read(path, as_version=4)
    kernel_environment = {**os.environ, "PYTHONPATH": _python_path(), FAST: "1" if fast else ""}
    # A kernel asked to end in the middle of a cell prints a traceback of its own.
    client = NotebookClient(
        notebook,
        timeout=timeout,
        resources={"metadata": {"path": str(path.parent)}},
        shutdown_kernel="immediate",
    )
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    problem = None
    try:
        # Not client.execute(): its signal handlers end Ctrl-C in a failed assertion of its own.
        with client.setup_kernel(env=kernel_environment):
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
            client.set_widgets_metadata()
    except CellExecutionError as error:
        problem = f"{error.ename}: {error.evalue}"
    except (CellTimeoutError, DeadKernelError) as error:
        problem = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    with atomic(out / path.name) as file:
        nbformat.write(notebook, file)
    if problem is not None:
        raise UserError(f"notebook {path.name} failed: {problem} (see {out / path.name})")
    return time.perf_counter() - start


def _python_path() -> str:
    rest = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    return os.pathsep.join([str(CODE), *[p for p in rest if p != str(CODE)]])


def strip(path: Path, write: bool) -> bool:
    """Whether a notebook has outputs, execution counts or editor metadata; removes them too.

    Args:
        write: rewrite the file.
    """
    notebook = nbformat.read(path, as_version=4)
    clean = nbformat.from_dict(notebook)
    for cell in clean.cells:
        cell.metadata = nbformat.NotebookNode()
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    clean.metadata = nbformat.from_dict({"kernelspec": kernel})
    text = nbformat.writes(clean) + "\n"
    dirty = text != path.read_text()
    if dirty and write:
        with atomic(path) as file:
            file.write(text)
    return dirty
