"""The compatibility module: what it adds, and that it leaves alone what is already there."""

from __future__ import annotations

import sys
from importlib.machinery import ExtensionFileLoader

import numpy as np
import pytest

from pftrack.compatibility import libraries as compat
from pftrack.errors import user_message


def test_numpy_aliases_are_the_builtins_and_present_names_stay():
    for name, builtin in {"int": int, "float": float, "object": object, "long": int}.items():
        alias = getattr(np, name)
        assert alias is builtin or issubclass(alias, np.generic)  # numpy 2 has its own np.long
    assert np.array([1, 0]).astype(np.bool).dtype == np.bool_


def test_install_twice_changes_nothing():
    before = list(sys.meta_path)
    compat.install()
    assert sys.meta_path == before


@pytest.mark.slow
def test_missing_operator_says_its_name_and_the_remedy_when_called():
    import torch
    from mmcv import _ext
    from mmcv.ops import nms

    if isinstance(_ext.__spec__.loader, ExtensionFileLoader):
        pytest.skip("mmcv's operators are compiled here")

    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    with pytest.raises(
        compat.MissingOperator, match=r"operator 'nms' is not compiled here"
    ) as error:
        nms(boxes, torch.ones(1), 0.5)
    assert str(user_message(error.value)).endswith("make build")  # one line, for every command


def test_site_packages_are_untouched():
    """Every installed file of the mm libraries has the hash its wheel recorded."""
    import base64
    import hashlib
    from importlib.metadata import files

    changed = []
    for package in ("mmdet", "mmdet3d", "mmsegmentation", "lyft-dataset-sdk"):
        for file in files(package) or []:
            if file.suffix != ".py" or file.hash is None:
                continue
            digest = hashlib.new(file.hash.mode, file.read_binary()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
                changed.append(str(file))
    assert changed == []
