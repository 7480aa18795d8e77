"""Notebooks as files: executed in a kernel with the project importable, tidied for git."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from pftrack.errors import UserError
from pftrack.files import atomic
from pftrack.paths import CODE, REPOSITORY

_WIDGET = "application/vnd.jupyter.widget-view+json"
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
    except KeyboardInterrupt:
        # The client may have begun to wait for a reply; nobody will, and Python would say so last.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        raise
    with atomic(out / path.name) as file:
        nbformat.write(notebook, file)
    if problem is not None:
        raise UserError(f"notebook {path.name} failed: {problem} (see {out / path.name})")
    return time.perf_counter() - start


def _python_path() -> str:
    rest = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    return os.pathsep.join([str(CODE), *[p for p in rest if p != str(CODE)]])


def tidy(notebook: nbformat.NotebookNode) -> str:
    """A notebook as git keeps it, with its outputs: text that is the same on every machine.

    Progress bars, warnings, states of widgets and editors go; paths become relative to the
    repository; a slider leaves its still picture.
    """
    clean = nbformat.from_dict(notebook)
    number = 0
    for cell in clean.cells:
        cell.metadata = nbformat.NotebookNode()
        if cell.cell_type == "code":
            number += 1
            cell.outputs = _merged(o for o in map(_tidy_output, cell.outputs) if o is not None)
            cell.execution_count = number if cell.outputs or cell.execution_count else None
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    clean.metadata = nbformat.from_dict({"kernelspec": kernel})
    return nbformat.writes(clean) + "\n"


def _tidy_output(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    if output.output_type == "stream":
        if output.name == "stderr":
            return None
        output.text = _relative(output.text)
    if "data" in output:
        if output.data.pop(_WIDGET, None) is not None:
            output.data.pop("text/plain", None)
        for kind, text in output.data.items():
            if kind.startswith("text/"):
                output.data[kind] = _relative(text)
        if not output.data:
            return None
        output.metadata = nbformat.from_dict(
            {kind: values for kind, values in output.metadata.items() if kind in output.data}
        )
    if output.output_type == "execute_result":
        output.execution_count = None
    return output


def _merged(outputs: Iterable[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """What a cell printed as one text, however it came in pieces."""
    merged: list[nbformat.NotebookNode] = []
    for output in outputs:
        if merged and output.output_type == merged[-1].output_type == "stream":
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def _relative(text: str) -> str:
    return text.replace(f"{REPOSITORY}/", "")


def store(executed: Path, path: Path) -> None:
    """Keep an executed copy, tidied, as the notebook itself."""
    text = tidy(nbformat.read(executed, as_version=4))
    with atomic(path) as file:
        file.write(text)


def is_tidy(path: Path) -> bool:
    """Whether a notebook in git was executed and is as :func:`tidy` leaves it."""
    notebook = nbformat.read(path, as_version=4)
    executed = any(cell.get("outputs") for cell in notebook.cells)
    return executed and tidy(notebook) == path.read_text()


def texts(notebook: nbformat.NotebookNode) -> list[tuple[int, str]]:
    """What the code cells of a tidy notebook printed and returned as text: (cell, text)."""
    return [
        (number, output.get("text") or output.data.get("text/plain", ""))
        for number, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", [])
    ]
