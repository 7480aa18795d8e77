"""What an import brings with it, seen in a fresh interpreter."""

import subprocess
import sys

from pftrack.compatibility import libraries as compat
from pftrack.paths import CODE


def run_python(source: str) -> str:
    """The output of a fresh interpreter in code/."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", source], cwd=CODE, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_us_first_is_enough_for_the_mm_libraries():
    """mmdet3d refuses mmcv 1.7.2, and both use numpy names that are gone: a fresh interpreter."""
    printed = run_python(
        "import pftrack\n"
        "import mmdet3d.models, mmdet3d.datasets, mmcv, mmdet\n"
        "from mmdet3d.core.bbox import LiDARInstance3DBoxes\n"
        "import torch\n"
        "box = LiDARInstance3DBoxes(torch.tensor([[0.0, 0, 0, 4, 2, 1, 0]]))\n"
        "print(mmcv.__version__, [round(float(x), 3) for x in box.gravity_center[0]])\n"
    )
    assert printed.splitlines()[-1] == f"{compat.MMCV_VERSION} [0.0, 0.0, 0.5]"


def test_package_import_imports_nothing_heavy():
    """Command lines answer --help and wrong arguments at once."""
    printed = run_python(
        "import sys, pftrack\n"
        "print(sorted({'torch', 'mmcv', 'mmdet', 'cv2', 'numpy'} & set(sys.modules)))"
    )
    assert printed == "[]"


def test_numpy_has_its_aliases_whichever_comes_first():
    for first, second in (("pftrack", "numpy"), ("numpy", "pftrack")):
        assert run_python(f"import {first}, {second}, numpy\nprint(numpy.int)") == "<class 'int'>"
