"""Checkpoints: every format is read, nothing in them runs, loading says what it did."""

import ast
import builtins
import functools
import io
import os
import pickle
import struct
import subprocess
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from small_model import small_model
from torch import nn

from pftrack.checkpoints.reading import (
    find_checkpoint,
    load_checkpoint_file,
    load_into,
)
from pftrack.checkpoints.weights import extract_state_dict
from pftrack.errors import UserError
from pftrack.paths import CODE


def full_checkpoint(model: nn.Module) -> dict:
    """As mmcv's runner saves it, with numpy numbers in its meta."""
    moments = {
        i: {"step": 9, "exp_avg": torch.zeros_like(p)} for i, p in enumerate(model.parameters())
    }
    return {
        "meta": {
            "epoch": 12,
            "iter": 337560,
            "mmcv_version": "1.4.0",
            "CLASSES": ("car", "truck"),
            "best_score": np.float64(0.408),
            "seed": np.int64(3),
            "rng": np.arange(5, dtype=np.uint32),
            "hook_msgs": {"best_ckpt": "a.pth"},
        },
        "state_dict": model.state_dict(),
        "optimizer": {"state": moments, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999)}]},
    }


class Runs:
    """Pickles as a call of ``function``."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


class Buildable:
    """A class of our own: harmless, and refused all the same."""


def gadgets(marker: Path) -> dict[str, object]:
    """Objects that would create ``marker`` when unpickled carelessly."""
    python = f"open({str(marker)!r}, 'w').close()"
    return {
        "system": Runs(os.system, f"touch {marker}"),
        "popen": Runs(subprocess.Popen, ["touch", str(marker)]),
        "eval": Runs(builtins.eval, f"open({str(marker)!r}, 'w')"),
        "exec": Runs(builtins.exec, python),
        "open": Runs(builtins.open, str(marker), "w"),
        "getattr": Runs(builtins.getattr, "text", "__class__"),
        "partial": Runs(functools.partial, os.system, f"touch {marker}"),
        "numpy": Runs(np.save, str(marker), np.zeros(1)),
        "torch": Runs(torch.save, {}, str(marker)),
        "import": Runs(builtins.__import__, "antigravity"),
        "own class": Buildable(),
    }


GADGETS = sorted(gadgets(Path("x")))


def write_tar(path: Path, content: object, tensors: list[torch.Tensor]) -> None:
    """torch's format of 2016, by its description."""
    storages, views = io.BytesIO(), io.BytesIO()
    pickle.dump(len(tensors), storages, 2)
    pickle.dump(len(tensors), views, 2)
    for i, tensor in enumerate(tensors):
        pickle.dump((i, "cuda:0", torch.FloatStorage), storages, 2)
        storages.write(struct.pack("<q", tensor.numel()) + tensor.numpy().tobytes())
        pickle.dump((100 + i, i, torch.FloatTensor), views, 2)
        shape, stride = tensor.shape, tensor.stride()
        views.write(struct.pack("<i4x", len(shape)))
        views.write(struct.pack(f"<{2 * len(shape) + 1}q", *shape, *stride, 0))
    pickle.dump([], storages, 2)

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return next((str(100 + i) for i, t in enumerate(tensors) if t is obj), None)

    main = io.BytesIO()
    Pickler(main, 2).dump(content)
    with tarfile.open(path, "w:") as tar:
        for name, data in (("storages", storages), ("tensors", views), ("pickle", main)):
            info = tarfile.TarInfo(name)
            info.size = len(data.getvalue())
            tar.addfile(info, io.BytesIO(data.getvalue()))


@pytest.mark.parametrize("zipped", [True, False])
def test_full_checkpoint_round_trip(tmp_path, zipped):
    model = small_model()
    path = tmp_path / "epoch_12.pth"
    torch.save(full_checkpoint(model), path, _use_new_zipfile_serialization=zipped)
    checkpoint = load_checkpoint_file(path)
    assert checkpoint["meta"]["best_score"] == pytest.approx(0.408)
    assert checkpoint["meta"]["seed"] == 3
    assert checkpoint["meta"]["rng"].tolist() == [0, 1, 2, 3, 4]
    assert checkpoint["meta"]["epoch"] == 12
    other = small_model()
    report = load_into(other, path, strict=True)
    assert report.complete
    for key, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])


def test_tar_checkpoint(tmp_path):
    weight, bias = torch.randn(2, 4), torch.randn(2)
    path = tmp_path / "old.pth.tar"
    write_tar(
        path, {"state_dict": OrderedDict(weight=weight, bias=bias), "epoch": 3}, [weight, bias]
    )
    checkpoint = load_checkpoint_file(path)
    model = nn.Linear(4, 2)
    assert load_into(model, checkpoint, strict=True).complete
    assert torch.equal(model.weight, weight)
    assert checkpoint["epoch"] == 3


def test_tar_reader_stops_at_the_end_of_a_buffer(tmp_path):
    tensor = torch.arange(4.0)
    path = tmp_path / "old.pth"
    write_tar(path, {"a": torch.as_strided(tensor, (4,), (1,))}, [tensor])
    data = bytearray(path.read_bytes())
    size = data.index(struct.pack("<q", 4) + tensor.numpy().tobytes())
    data[size : size + 8] = struct.pack("<q", 1 << 60)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"old\.pth"):
        load_checkpoint_file(path)


def test_tensors_from_a_gpu_arrive_on_the_cpu(tmp_path):
    """A file whose storages say 'cuda:0', made by rewriting the location in the pickle."""
    path = tmp_path / "cuda.pth"
    torch.save({"state_dict": {"w": torch.arange(3.0)}}, path)
    with zipfile.ZipFile(path) as source:
        members = {m.filename: source.read(m) for m in source.infolist()}
    pickled = next(name for name in members if name.endswith("data.pkl"))
    assert b"X\x03\x00\x00\x00cpu" in members[pickled]
    members[pickled] = members[pickled].replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    with zipfile.ZipFile(path, "w") as target:
        for name, data in members.items():
            target.writestr(name, data)
    weight = load_checkpoint_file(path)["state_dict"]["w"]
    assert weight.device.type == "cpu" and weight.tolist() == [0, 1, 2]


@pytest.mark.parametrize("container", ["zip", "stream", "pickle", "tar"])
@pytest.mark.parametrize("name", GADGETS)
def test_pickle_gadgets_never_run(tmp_path, name, container):
    marker = tmp_path / "executed"
    path = tmp_path / "evil.pth"
    weights = {"w": torch.zeros(2)}
    evil = {"state_dict": weights, "meta": {"epoch": gadgets(marker)[name]}}
    if container == "pickle":
        path.write_bytes(pickle.dumps(evil["meta"]))
    elif container == "tar":
        write_tar(path, evil["meta"], [])
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=container == "zip")
    with pytest.raises(UserError, match=r"evil\.pth"):
        load_checkpoint_file(path)
    assert not marker.exists() and not marker.with_suffix(".npy").exists()


def rewrite(path: Path, change) -> None:
    """Change the pickle of a zip checkpoint; everything else stays, checksums included."""
    with zipfile.ZipFile(path) as source:
        members = {m.filename: source.read(m) for m in source.infolist()}
    pickled = next(name for name in members if name.endswith("data.pkl"))
    members[pickled] = change(members[pickled])
    with zipfile.ZipFile(path, "w") as target:
        for name, data in members.items():
            target.writestr(name, data)


# The pickle of a tensor of 4 ends with: numel, storage; offset, (size,), (stride,).
@pytest.mark.parametrize(
    ("there", "instead"),
    [
        (b"K\x04tq", b"M\x00\x10tq"),  # a storage of 4096
        (b"K\x04\x85", b"M\x00\x10\x85"),  # a tensor of 4096
        (b"K\x00K\x04\x85", b"K\x02K\x04\x85"),  # that begins at the third
        (b"K\x01\x85", b"K\x7f\x85"),  # every 127th
        (b"K\x01\x85", b"J\xff\xff\xff\xff\x85"),  # backwards
        (b"FloatStorage", b"DoubleStorage"),
    ],
)
def test_tensors_do_not_reach_beyond_their_bytes(tmp_path, there, instead):
    path = tmp_path / "w.pth"
    torch.save({"state_dict": {"w": torch.ones(4)}}, path)
    assert load_checkpoint_file(path)["state_dict"]["w"].tolist() == [1.0] * 4

    def change(data: bytes) -> bytes:
        assert data.count(there) == 1
        return data.replace(there, instead)

    rewrite(path, change)
    with pytest.raises(UserError, match=r"w\.pth' is torn or damaged"):
        load_checkpoint_file(path)


def test_a_repeated_element_does_not_become_gigabytes(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"state_dict": {"w": torch.ones(1).expand(64, 2)}}, path)
    assert load_checkpoint_file(path)["state_dict"]["w"].sum() == 128
    torch.save({"state_dict": {"w": torch.ones(1).expand(1 << 20, 1 << 20)}}, path)
    with pytest.raises(UserError, match="torn or damaged"):
        load_checkpoint_file(path)


def test_numpy_in_a_checkpoint_keeps_to_its_bytes(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"state_dict": {"w": torch.ones(4)}, "meta": {"score": np.float64(0.5)}}, path)
    plain = b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"

    def change(data: bytes) -> bytes:
        assert data.count(plain) == 1
        return data.replace(plain, b"NNNM\x00\x10J\xff\xff\xff\xff")  # items of 4096 bytes

    rewrite(path, change)
    with pytest.raises(UserError, match="torn or damaged"):
        load_checkpoint_file(path)


def test_without_weights_the_rest_is_read(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(full_checkpoint(small_model()), path)
    content = load_checkpoint_file(path, without=("state_dict", "optimizer"))
    assert list(content) == ["meta"] and content["meta"]["epoch"] == 12


def test_refusal_names_what_the_file_wants(tmp_path):
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": {}, "meta": Runs(os.system, "true")}, path)
    with pytest.raises(UserError, match=r"refused: it wants to rebuild '(posix|nt)\.system'"):
        load_checkpoint_file(path)


@pytest.mark.parametrize("content", [{"a": 1}, {"a": np.zeros(3)}, {"a": torch.zeros(3)}, [1, 2]])
def test_a_plain_pickle_is_called_one(tmp_path: Path, content: object) -> None:
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=r"weights.pkl' is a plain pickle, not a checkpoint"):
        load_checkpoint_file(path)


def test_user_errors(tmp_path):
    with pytest.raises(UserError, match=r"no checkpoint 'f9/nothing\.pth'.*make checkpoints"):
        find_checkpoint("f9/nothing.pth")
    with pytest.raises(UserError, match="is a folder"):
        find_checkpoint(tmp_path)
    with pytest.raises(UserError, match="no model weights"):
        extract_state_dict({"optimizer": {}})
    list_file = tmp_path / "list.pth"
    torch.save([1, 2], list_file)
    with pytest.raises(UserError, match="holds a list, not a dictionary"):
        load_checkpoint_file(list_file)
    page = tmp_path / "page.pth"
    page.write_text("<html>404</html>")
    with pytest.raises(UserError, match="is not a checkpoint"):
        load_checkpoint_file(page)
    empty = tmp_path / "empty.pth"
    empty.touch()
    with pytest.raises(UserError, match="is empty"):
        load_checkpoint_file(empty)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_torn_file(tmp_path, zipped, kept):
    path = tmp_path / "torn.pth"
    torch.save(full_checkpoint(small_model()), path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(UserError, match="torn or damaged"):
        load_checkpoint_file(path)


def test_one_flipped_byte_is_noticed(tmp_path):
    path = tmp_path / "flipped.pth"
    model = small_model()
    torch.save({"state_dict": model.state_dict()}, path)
    content = bytearray(path.read_bytes())
    at = content.find(model["head"].weight.detach().numpy().tobytes())
    content[at + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"flipped\.pth' is damaged: the checksum of .* is wrong"):
        load_checkpoint_file(path)


def test_compressed_archive_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 1_000_000)
    with pytest.raises(UserError, match="compressed archive"):
        load_checkpoint_file(path)


def test_checkpoints_are_found_below_the_checkpoints_folder(tmp_path, monkeypatch):
    from pftrack.checkpoints import reading as checkpoint_io

    monkeypatch.setattr(checkpoint_io, "CHECKPOINTS_DIR", tmp_path)
    (tmp_path / "f3_all").mkdir()
    (tmp_path / "f3_all" / "final.pth").touch()
    for name in ("f3_all/final.pth", "ckpts/f3_all/final.pth", tmp_path / "f3_all/final.pth"):
        assert find_checkpoint(name) == tmp_path / "f3_all" / "final.pth"


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a program, with the dotted name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.slow
def test_no_other_code_reads_pickles_carelessly():
    """Every torch.load in the project is weights-only, and no file is read by plain pickle."""
    in_memory = {"packed_infos.py"}  # unpickles what it has pickled itself
    for path in [
        p
        for room in ("pftrack", "laboratory", "projects", "tools")
        for p in (CODE / room).rglob("*.py")
    ]:
        for name, call in calls(ast.parse(path.read_text())):
            where = f"{path.relative_to(CODE)}:{call.lineno}"
            if name == "torch.load":
                keywords = {k.arg: ast.unparse(k.value) for k in call.keywords}
                assert keywords.get("weights_only") == "True", where
            assert name not in ("pickle.load", "pickle.loads") or path.name in in_memory, where
