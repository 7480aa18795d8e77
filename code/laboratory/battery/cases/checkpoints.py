"""Checkpoints, states that a training continues from, archives of them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from laboratory.battery.cases.hostile import hostile, in_a_member, torn_zip, write_zip, zip_link
from laboratory.battery.cases.maker import Main, Maker, command, fields, put, show
from laboratory.battery.worker import Case


def checkpoints(make: Maker) -> Iterator[Case]:
    data = make.world.checkpoint.read_bytes()
    uses: list[Callable[[Path, Path], Any]] = [
        lambda file, folder: command("inspect_checkpoint", file, "--config", make.world.config),
        lambda file, folder: make.dry_run(folder, "--load-from", file),
        lambda file, folder: make.dry_run(folder, "--resume-from", file),
    ]
    for n, use in enumerate(uses):
        yield from make.pickles("checkpoint", data, use, 25, 80 + 3 * n)
        for at, bit in make.draws(st.tuples(st.floats(0.01, 0.97), st.integers(0, 7)), 15, 90 + n):

            def run(
                folder: Path,
                at: float = at,
                bit: int = bit,
                use: Callable[[Path, Path], Any] = use,
            ) -> tuple[Main, list[str]]:
                flipped = bytearray(data)
                flipped[in_a_member(data, at)] ^= 1 << bit
                (folder / "flipped.pth").write_bytes(flipped)
                return use(folder / "flipped.pth", folder)

            yield Case("checkpoint", f"bit {bit} at {at:.4f}", run)
    yield from _hostile_zips(make, data, uses)


def _hostile_zips(make: Maker, data: bytes, uses: list[Any]) -> Iterator[Case]:
    for (text, builder), which in make.draws(
        st.tuples(hostile(), st.sampled_from(range(len(uses)))), 30, 95
    ):

        def run(
            folder: Path,
            builder: Callable[[str], bytes] = builder,
            use: Callable[[Path, Path], Any] = uses[which],
        ) -> tuple[Main, list[str]]:
            file = folder / "evil.pth"
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("x/data.pkl", builder(str(folder / "mark")))
                archive.writestr("x/version", "3\n")
            return use(file, folder)

        yield Case("checkpoint", f"zip: {text}", run)


def resumed(make: Maker) -> Iterator[Case]:
    kinds = {
        "optimizer": "dict", "optimizer.state": "text", "optimizer.param_groups": "dict",
        "resume.epoch": "count", "resume.batch": "count", "resume.iters_per_epoch": "positive",
        "resume.rng": "dict", "resume.scaler": "text", "meta": "dict", "meta.epoch": "count",
        "resume.seed": "text", "resume.skipped_in_row": "count", "state_dict": "dict",
    }  # fmt: skip
    for name, value, _at in make.draws(fields(kinds), 40, 100):
        if (name, value) in [("resume.seed", 7), ("resume.scaler", {})]:
            continue  # a seed; a training without a scaler

        def run(folder: Path, name: str = name, value: Any = value) -> tuple[Main, list[str]]:
            import torch

            content = torch.load(make.world.checkpoint, weights_only=True)
            put(content, name, value)
            torch.save(content, folder / "spoiled.pth")
            return make.dry_run(folder, "--resume-from", folder / "spoiled.pth")

        yield Case("resume", f"{name} = {show(value)}", run)
    tensors = st.tuples(
        st.sampled_from(["exp_avg", "exp_avg_sq", "step", "weight"]),
        st.sampled_from(["shape", "type", "nan", "none", "negative", "scalar"]),
        st.floats(0, 0.999),
    )
    for key, how, at in make.draws(tensors, 30, 101):
        if (key == "step" and how in ("type", "shape", "scalar")) or (
            how == "negative" and key in ("weight", "exp_avg")
        ):
            continue  # no mistake

        def run_tensor(
            folder: Path, key: str = key, how: str = how, at: float = at
        ) -> tuple[Main, list[str]]:
            import torch

            content = torch.load(make.world.checkpoint, weights_only=True)
            if key == "weight":
                table: Any = content["state_dict"]
                floats = [n for n, v in table.items() if v.is_floating_point() and v.numel() > 4]
                key = floats[int(at * len(floats))]
            else:
                states = content["optimizer"]["state"]
                table = states[list(states)[int(at * len(states))]]
            value = table[key]
            table[key] = {
                "shape": value.reshape(-1)[:1].clone() if value.ndim else value.reshape(1, 1),
                "type": value.to(torch.int64).clone() if key in ("exp_avg", "exp_avg_sq") else "x",
                "nan": torch.full_like(value, float("nan")),
                "none": None,
                "negative": torch.full_like(value, -1.0),
                "scalar": torch.tensor(0.0),
            }[how]
            torch.save(content, folder / "spoiled.pth")
            return make.dry_run(folder, "--resume-from", folder / "spoiled.pth")

        yield Case("resume", f"{key} {how} at {at:.3f}", run_tensor)


def archives(make: Maker) -> Iterator[Case]:
    manifest = {
        "base_url": "https://example.invalid/",
        "license": "none",
        "files": [
            {"name": "a", "path": "a/a.pth", "archive": "a.zip", "members": ["a.pth"],
             "kind": "tracker"}
        ],
    }  # fmt: skip
    builders = {
        "no archive": lambda p: p.write_bytes(b"PK nothing"),
        "empty": lambda p: p.write_bytes(b""),
        "page": lambda p: p.write_bytes(b"<html>404</html>"),
        "outside": lambda p: write_zip(p, {"../../a.pth": b"x"}),
        "absolute": lambda p: write_zip(p, {"/tmp/battery_a.pth": b"x"}),
        "other members": lambda p: write_zip(p, {"b.pth": b"x"}),
        "bomb": lambda p: write_zip(p, {"a.pth": b"\0" * (200 << 20)}, zipfile.ZIP_DEFLATED),
        "many bombs": lambda p: write_zip(
            p, {f"a{i}/a.pth": b"\0" * (4 << 20) for i in range(90)}, zipfile.ZIP_DEFLATED
        ),
        "torn": torn_zip,
        "link": zip_link,
    }
    for name, build in builders.items():

        def run(folder: Path, build: Callable[[Path], Any] = build) -> tuple[Main, list[str]]:
            (folder / "mirror").mkdir()
            build(folder / "mirror" / "a.zip")
            (folder / "m.json").write_text(json.dumps(manifest))
            return command(
                "download_checkpoints", "--manifest", folder / "m.json", "--to", folder / "out",
                "--mirror", folder / "mirror",
            )  # fmt: skip

        yield Case("archive", name, run)
