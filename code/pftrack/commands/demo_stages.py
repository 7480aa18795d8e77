"""The demo as a list of commands, run one after the other and not again once they are done."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pftrack.devices import choose_device
from pftrack.evaluation.text import format_metric
from pftrack.files import atomic
from pftrack.nuscenes.versions import INFO_TAG, MINI, info_file_name
from pftrack.paths import CHECKPOINTS_DIR, CODE

CONFIGS = "projects/configs/tracking/demo"
SHIPPED = CHECKPOINTS_DIR / "demo" / "f3_demo.pth"
# The demo network sees 320x128 pixels, one of which is 2.4 m of road at a distance of 30 m: it
# learns in fog, where nothing further away is to be seen or annotated.
DEMO_VISIBILITY = 30.0


@dataclass(frozen=True)
class Stage:
    """One step.

    Attributes:
        name: of its stamp.  title: what it does.  command: what it runs, in ``code/``.
        reads: files that it is done again for when their content is another.
    """

    name: str
    title: str
    command: list[str]
    reads: tuple[Path, ...] = ()

    def key(self) -> str:
        """Digest of what it does: the command, and what is in the files now."""
        digest = hashlib.sha256(json.dumps(self.command).encode())
        for path in self.reads:
            if path.is_file():
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def stages(out: Path, scenes: int, image_size: str, iterations: int) -> list[Stage]:
    """The commands of the demo, in order.

    Args:
        out: where everything goes, absolute.  scenes: how many to generate.
        image_size: of the generated images, "WxH".  iterations: of each training step.
    """
    data = out / "nuscenes"
    train_infos = data / info_file_name(MINI, "train")
    val_infos = data / info_file_name(MINI, "val")
    dataset = [f"data.{split}.data_root={data}/" for split in ("train", "val", "test")]
    dataset += [f"data.train.ann_file={train_infos}"]
    dataset += [f"data.{split}.ann_file={val_infos}" for split in ("val", "test")]
    checkpoint = SHIPPED if SHIPPED.exists() else out / "f3" / "latest.pth"
    results = out / "eval" / "results_nusc.json"

    def train(step: str, *options: str) -> list[str]:
        command = ["tools/train.py", f"{CONFIGS}/{step}_demo.py", "--work-dir", str(out / step)]
        command += ["--auto-resume", "--no-validate", *options]
        return [*command, "--cfg-options", f"runner.max_iters={iterations}", *dataset]

    return [
        Stage(
            "data",
            "generate a dataset in nuScenes format",
            ["tools/make_demo_data.py", str(data)]
            + ["--scenes", str(scenes), "--image-size", image_size]
            + ["--visibility", str(DEMO_VISIBILITY)],
        ),
        Stage(
            "infos",
            "convert its tables to info files",
            ["tools/create_data.py", "nuscenes-tracking", "--root-path", str(data)]
            + ["--out-dir", str(data), "--extra-tag", INFO_TAG]
            + ["--version", MINI, "--forecasting"],
        ),
        Stage("f1", f"step one: train the detector, {iterations} iterations", train("f1")),
        Stage(
            "f3",
            f"step two: train the tracker from step one, {iterations} iterations",
            train("f3", "--load-from", str(out / "f1" / "latest.pth")),
        ),
        Stage(
            "eval",
            f"track the validation scenes with {checkpoint.relative_to(checkpoint.parents[2])}, "
            "evaluate, write the report",
            ["tools/eval.py", str(checkpoint), "--config", f"{CONFIGS}/f3_demo.py"]
            + ["--gpus", str(_gpus()), "--work-dir", str(out / "eval"), "--cfg-options", *dataset],
            (checkpoint,),
        ),
        Stage(
            "video",
            "draw the tracks",
            ["tools/make_video.py", str(results), "--dataroot", str(data), "--version", MINI]
            + ["--out", str(out / "video")],
            (results,),
        ),
    ]


def run_demo(out: Path, scenes: int, image_size: str, iterations: int) -> None:
    """Run every stage that is not done, then print the metrics and where things are.

    Raises:
        SystemExit: a stage failed, with its status (it has printed why).
    """
    out = out.resolve()
    started = time.monotonic()
    todo = stages(out, scenes, image_size, iterations)
    for number, stage in enumerate(todo, 1):
        print(f"\n[{number}/{len(todo)}] {stage.title}", flush=True)
        stamp = out / ".stages" / f"{stage.name}.json"
        key = stage.key()
        if stamp.is_file() and json.loads(stamp.read_text())["key"] == key:
            print("  done before")
            continue
        seconds = _run(stage)
        with atomic(stamp) as file:
            file.write(json.dumps({"key": key, "seconds": round(seconds, 1)}))
    print(f"\n{summary(out)}\n\nfinished in {(time.monotonic() - started) / 60:.1f} min")


def _run(stage: Stage) -> float:
    print(f"  $ python {shlex.join(_relative(stage.command))}", flush=True)
    started = time.monotonic()
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    status = subprocess.run(
        [sys.executable, *stage.command], cwd=CODE, env=environment, check=False
    ).returncode
    if status:  # the stage has said why, in its one line
        raise SystemExit(status)
    return time.monotonic() - started


def _relative(command: list[str]) -> list[str]:
    return [word.replace(f"{CODE}/", "").replace(f"{CODE.parent}/", "../") for word in command]


def _gpus() -> int:
    return int(choose_device(os.environ.get("DEVICE") or "auto").type == "cuda")


def summary(out: Path) -> str:
    """The closing table and what to look at next.

    Args:
        out: the demo's folder, with ``eval`` and ``video`` done.
    """
    metrics = json.loads((out / "eval" / "metrics_summary.json").read_text())
    forecasts = json.loads((out / "eval" / "forecasting.json").read_text())["all"]
    run = json.loads((out / "eval" / "run.json").read_text())
    horizons = next(iter(forecasts.values()))
    longest = max(horizons, key=lambda name: float(name.rstrip("s ")))
    numbers = {
        "AMOTA": format_metric("amota", metrics["amota"]),
        "AMOTP": format_metric("amotp", metrics["amotp"]),
        "MOTA": format_metric("mota", metrics["mota"]),
        "IDS": format_metric("ids", metrics["ids"]),
        f"minADE@{longest} (m)": format_metric("motp", horizons[longest]["minADE"]),
        "frames/s": f"{run['frames'] / run['wall_seconds']:.2f}",
    }
    widths = [max(len(k), len(v)) for k, v in numbers.items()]
    lines = [
        "  ".join(word.rjust(w) for word, w in zip(row, widths, strict=True))
        for row in (numbers.keys(), numbers.values())
    ]
    here = Path(os.path.relpath(out, CODE.parent))
    return "\n".join(
        [
            *lines,
            "",
            f"report  {here / 'eval' / 'report.html'}",
            f"videos  {here / 'video'}",
            "next    make jupyter                        look inside, step by step",
            "        make data NUSCENES=/path/to/nuscenes, make checkpoints,",
            "        make eval CKPT=f3_all/final.pth     the published numbers (README)",
        ]
    )
