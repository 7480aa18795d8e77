"""The notebooks run from top to bottom, and git has them without outputs."""

import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from pftrack.checkpoints.reading import CHECKPOINTS_DIR
from pftrack.commands import notebook, notebook_files
from pftrack.errors import UserError
from pftrack.paths import CODE

NOTEBOOKS = sorted((CODE.parent / "notebooks").glob("*.ipynb"))


def make_notebook(path: Path, *cells: str) -> Path:
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(notebook, path)
    return path


def test_the_three_notebooks_are_there_and_stripped():
    assert [p.name for p in NOTEBOOKS] == [
        "01_walkthrough.ipynb",
        "02_inspect_checkpoints.ipynb",
        "03_results.ipynb",
    ]
    assert not [p.name for p in NOTEBOOKS if notebook_files.strip(p, write=False)]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    if not (CHECKPOINTS_DIR / "demo" / "f3_demo.pth").is_file():
        pytest.skip("no demo checkpoint: 'make demo' trains one")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook_files.execute(path, tmp_path, fast=True)
    executed = nbformat.read(tmp_path / path.name, as_version=4)
    outputs = [o for cell in executed.cells if cell.cell_type == "code" for o in cell.outputs]
    assert any("image/png" in o.get("data", {}) for o in outputs)


def test_folder_for_what_a_notebook_writes_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(notebook, "CODE", tmp_path)
    tables = tmp_path / "data" / "nuscenes" / "v1.0-mini"
    tables.mkdir(parents=True)
    (tables / "scene.json").touch()
    setting = notebook.published("f3_all/final.pth", config="petr/f3.py")
    assert setting.version == "v1.0-mini" and setting.out.is_relative_to(tmp_path)
    assert setting.out.is_dir()


def test_execution_sees_the_project_and_keeps_the_copy(tmp_path):
    source = make_notebook(tmp_path / "a.ipynb", "import pftrack as p; print(p.__name__)")
    before = source.read_text()
    notebook_files.execute(source, tmp_path / "out")
    executed = nbformat.read(tmp_path / "out" / "a.ipynb", as_version=4)
    assert executed.cells[0].outputs[0].text == "pftrack\n"
    assert source.read_text() == before


def test_failing_cell_is_named_in_one_line(tmp_path):
    source = make_notebook(tmp_path / "b.ipynb", "1 / 0", "print('not reached')")
    run = subprocess.run(
        [sys.executable, "tools/run_notebooks.py", str(source), "--out", str(tmp_path / "out")],
        cwd=CODE,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert (
        run.stderr.strip()
        .splitlines()[-1]
        .startswith("error: notebook b.ipynb failed: ZeroDivisionError: division by zero")
    )
    executed = nbformat.read(tmp_path / "out" / "b.ipynb", as_version=4)
    assert executed.cells[0].outputs[0].output_type == "error"


def test_interrupted_run_is_one_line(tmp_path):
    stop = "import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(600)"
    source = make_notebook(tmp_path / "a.ipynb", stop)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        done = subprocess.run(
            [sys.executable, "tools/run_notebooks.py", str(source), "--out", str(tmp_path / "out")],
            cwd=CODE,
            capture_output=True,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "interrupted"
    assert "Traceback" not in done.stderr


def test_hanging_cell_is_stopped(tmp_path):
    source = make_notebook(tmp_path / "c.ipynb", "while True: pass")
    with pytest.raises(UserError, match="CellTimeoutError"):
        notebook_files.execute(source, tmp_path / "out", timeout=2)


def test_strip_removes_outputs_and_metadata(tmp_path):
    source = make_notebook(tmp_path / "d.ipynb", "print(1)")
    notebook = nbformat.read(source, as_version=4)
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text="1\n")]
    notebook.cells[0].execution_count = 5
    notebook.cells[0].metadata["collapsed"] = True
    nbformat.write(notebook, source)
    assert notebook_files.strip(source, write=False) and notebook_files.strip(source, write=True)
    assert not notebook_files.strip(source, write=False)
    clean = nbformat.read(source, as_version=4)
    assert clean.cells[0].outputs == [] and clean.cells[0].execution_count is None
    assert clean.cells[0].source == "print(1)" and not clean.cells[0].metadata
