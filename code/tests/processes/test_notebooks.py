"""The notebooks run from top to bottom, and say what git has as their outputs."""

import base64
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import nbformat
import numpy as np
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


def test_the_notebooks_are_stored_executed_and_small():
    assert [p.name for p in NOTEBOOKS] == [
        "01_walkthrough.ipynb",
        "02_inspect_checkpoints.ipynb",
        "03_results.ipynb",
        "04_training.ipynb",
    ]
    assert [p.name for p in NOTEBOOKS if not notebook_files.is_tidy(p)] == []
    assert sum(p.stat().st_size for p in NOTEBOOKS) < 3_000_000
    assert not [p.name for p in NOTEBOOKS if re.search(r"/(tmp|home|root|work)/", p.read_text())]


NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def assert_same_text(text: str, stored: str) -> None:
    """Words are equal; numbers nearly so: another processor adds in another order."""
    assert NUMBER.sub("#", " ".join(text.split())) == NUMBER.sub("#", " ".join(stored.split()))
    for one, other in zip(NUMBER.findall(text), NUMBER.findall(stored), strict=True):
        limit = 1.0 if "." not in one else 0.05
        assert float(one) == pytest.approx(float(other), rel=0.05, abs=limit), (text, stored)


@pytest.mark.slow
@pytest.mark.xdist_group("notebooks")  # they share the generated data and a folder of results
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_says_what_is_stored(path, tmp_path, monkeypatch):
    if not (CHECKPOINTS_DIR / "demo" / "f3_demo.pth").is_file():
        pytest.skip("no demo checkpoint: 'make demo' trains one")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook_files.execute(path, tmp_path, fast=True)
    executed = notebook_files.tidy(nbformat.read(tmp_path / path.name, as_version=4))
    found = notebook_files.texts(nbformat.reads(executed, as_version=4))
    stored = notebook_files.texts(nbformat.read(path, as_version=4))
    assert [cell for cell, _ in found] == [cell for cell, _ in stored]
    for (_, text), (_, before) in zip(found, stored, strict=True):
        assert_same_text(text, before)
    assert "image/png" in executed


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


def test_what_is_stored_is_the_same_everywhere(tmp_path):
    source = make_notebook(
        tmp_path / "d.ipynb",
        "import sys; print('one'); print('a warning', file=sys.stderr); print('two')",
        "from pftrack.paths import CODE; print(CODE / 'tools'); CODE",
        "import numpy as np; from pftrack.commands.notebook import slider\n"
        "slider([np.full((90, 1600, 3), c, np.uint8) for c in (0, 90, 200)])",
    )
    source_notebook = nbformat.read(source, as_version=4)
    source_notebook.cells[0].metadata["collapsed"] = True
    nbformat.write(source_notebook, source)
    assert not notebook_files.is_tidy(source)
    notebook_files.execute(source, tmp_path / "out")
    notebook_files.store(tmp_path / "out" / "d.ipynb", source)
    assert notebook_files.is_tidy(source)
    first, second, third = nbformat.read(source, as_version=4).cells
    assert [o.text for o in first.outputs] == ["one\ntwo\n"] and not first.metadata
    assert second.outputs[0].text == "code/tools\n"
    (still,) = third.outputs
    assert list(still.data) == ["image/jpeg"]
    picture = cv2.imdecode(
        np.frombuffer(base64.b64decode(still.data["image/jpeg"]), np.uint8), cv2.IMREAD_COLOR
    )
    assert picture.shape == (40, 720, 3) and abs(int(picture.mean()) - 90) < 2
    assert [c.execution_count for c in (first, second, third)] == [1, 2, 3]
