"""All parts one after the other, within a budget of time; what is done is not done again.

    python tools/gpu_check.py [--device cuda] [--only PREFIX ...] [--budget 460] [--out FILE.json]

FILE.json holds what every part found and is written after each; the same command on the same
machine and code goes on where it ended. Parts are in the order of what one wants to know first.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from laboratory.gpu_check import attention, loader, parity, static, tracking, training
from laboratory.gpu_check.setting import Part, Result, Setting
from pftrack.arguments import Parser
from pftrack.devices import find_device, nvidia_smi
from pftrack.errors import UserError
from pftrack.files import write_json
from pftrack.paths import CODE
from pftrack.revision import git_state

EXPECTED = Path(__file__).with_name("expected.json")
PUBLISHED = (
    "petr/f1_q500_800x320",
    "petr/f3_q500_800x320",
    "petr/f3_q500_1600x640",
    "petr/f1_q500_1600x640",
    "petr/f5_q500_800x320",
    "detr3d/f1_q500_800x320",
    "detr3d/f3_q500_800x320",
    "detr3d/f1_q500_1600x640",
    "detr3d/f3_q500_1600x640",
)
TRACKERS = tuple(name for name in PUBLISHED if "/f3" in name)
DEMO = ("demo/f1_demo", "demo/f3_demo")


def parts(small: bool) -> dict[str, Part]:
    """Every part by its name."""
    trained = DEMO if small else PUBLISHED
    # On a CPU fp16 is emulated and compiling takes minutes: neither says anything about a GPU.
    precisions = [p for p in training.PRECISIONS if not (small and p == "fp16")]
    tracked = DEMO[1:] if small else TRACKERS
    detector, tracker = trained[:2]
    found: dict[str, Part] = {}
    for config in DEMO[1:] if small else ("petr/f3_q500_800x320", "detr3d/f3_q500_800x320"):
        found[f"parity {config}"] = partial(parity.stages_like_the_cpu, config)
        found[f"waits, tracking {config}"] = partial(tracking.waits_while_tracking, config)
        found[f"waits, training {config}"] = partial(tracking.waits_while_training, config)
    found[f"losses {detector}"] = partial(parity.losses_like_the_cpu, detector)
    found[f"process group {detector}"] = partial(training.process_group_of_one, detector)
    found[f"resume {detector}"] = partial(training.resume_is_exact, detector)
    for config in tracked:
        for precision in precisions:
            found[f"track {config} {precision}"] = partial(
                tracking.tracked_frames, config, precision
            )
    for config in trained:
        for precision in precisions:
            found[f"train {config} {precision}"] = partial(
                training.training_steps, config, precision
            )
    for config, precision in ((detector, "fp32"), (tracker, "bf16")):
        found[f"cudnn benchmark {config} {precision}"] = partial(
            training.training_steps, config, precision, cudnn_benchmark=True
        )
        found[f"channels first {config} {precision}"] = partial(
            training.training_steps, config, precision, channels_last=False
        )
    for precision in ("fp32", "fp16"):
        found[f"static {tracked[0]} {precision}"] = partial(
            static.static_frames, tracked[0], "fp32" if small else precision
        )
    found["attention"] = attention.attention_kernels
    found[f"memory {tracked[0]}"] = partial(tracking.memory_stays, tracked[0])
    found[f"loader {detector}"] = partial(loader.loader_share, detector)
    found["gpu tests"] = gpu_tests
    if not small:
        found[f"compiled {tracked[0]} fp16"] = partial(
            tracking.tracked_frames, tracked[0], "fp16", compiled=True
        )
    return found


def gpu_tests(setting: Setting) -> Result:
    """The tests that need a GPU."""
    options = "-m gpu -o addopts=--import-mode=importlib -p no:cacheprovider -q"
    command = [sys.executable, "-m", "pytest", *options.split(), "tests/gpu", "tests/tracking"]
    run = subprocess.run(command, cwd=CODE, capture_output=True, text=True, check=False)
    lines = run.stdout.strip().splitlines() or [run.stderr.strip()[-200:]]
    result = Result({"pytest": lines[-1]})
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    for problem in failed or lines[-1:]:
        result.demand(run.returncode == 0 or not setting.on_gpu, problem)
    return result


def machine(setting: Setting) -> dict[str, Any]:
    """What the numbers belong to."""
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        **git_state(),
    }
    if not setting.on_gpu:
        return {"gpu": f"none ({platform.machine()} CPU)", **found}
    major, minor = torch.cuda.get_device_capability(setting.device)
    return {
        "gpu": torch.cuda.get_device_name(setting.device),
        "capability": f"{major}.{minor}",
        "memory GiB": torch.cuda.get_device_properties(setting.device).total_memory / 2**30,
        "driver": (nvidia_smi("driver_version") or ["unknown"])[0],
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        **found,
    }


def check_all(
    chosen: Mapping[str, Part], setting: Setting, out: Path, budget: float
) -> dict[str, Any]:
    """Run the parts that ``out`` does not hold; returns its content."""
    started, report = time.monotonic(), _go_on(out, machine(setting))
    bar = tqdm(chosen.items(), "gpu check", unit="part", disable=None)
    for name, part in bar:
        bar.set_postfix_str(name)
        if name in report["parts"]:
            continue
        if time.monotonic() - started > budget:
            report["left out"] = [n for n in chosen if n not in report["parts"]]
            break
        begun = time.monotonic()
        try:
            result = part(setting)
        except Exception as error:  # one part's failure says nothing about the next
            result = Result({}, [f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"])
        seconds = round(time.monotonic() - begun, 1)
        report["parts"][name] = {
            "values": result.values, "problems": result.problems, "seconds": seconds,
        }  # fmt: skip
        verdict = "; ".join(result.problems) or "ok"
        tqdm.write(f"{name}: {seconds} s, {verdict}, {result.values}")
        write_json(out, report)
    write_json(out, report)
    return report


def _go_on(out: Path, here: dict[str, Any]) -> dict[str, Any]:
    """What ``out`` holds, if it is of this machine and code; else an empty report."""
    try:
        report = json.loads(out.read_text())
        if report["machine"] == here and not here["git_modified"]:
            report.pop("left out", None)
            return report
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {"machine": here, "parts": {}}


def print_table(report: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """One line for every value, with what is expected of this GPU where that is known."""
    ranges = expected.get(report["machine"]["gpu"], {})
    print("\n" + ", ".join(f"{k} {v}" for k, v in report["machine"].items()))
    for name, part in report["parts"].items():
        print(f"{name}  ({part['seconds']} s)")
        for key, value in part["values"].items():
            shown = f"{value:.4g}" if isinstance(value, float) else value
            print(f"    {key:<34} {shown!s:<28}{_expectation(ranges, name, key, value)}")
        for problem in part["problems"]:
            print(f"    WRONG: {problem}")
    for name in report.get("left out", []):
        print(f"{name}  not run: the time was over; the same command goes on")


def _expectation(ranges: Mapping[str, Any], name: str, key: str, value: Any) -> str:
    bounds = ranges.get(name, {}).get(key)
    if bounds is None or not isinstance(value, (int, float)):
        return ""
    low, high = bounds
    verdict = "" if low <= value <= high else "  OUTSIDE"
    return f"expected {low:g} to {high:g}{verdict}"


def main() -> int:
    """Exit status 1: a part found something wrong."""
    parser = Parser(prog="gpu_check.py", description=__doc__)
    parser.add_argument("--device", default="auto", help="cuda, cuda:N or cpu (demo size)")
    parser.add_argument("--only", nargs="+", default=[""], metavar="PREFIX", help="these parts")
    parser.add_argument("--budget", type=float, default=460, help="seconds; no part begins later")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/gpu_check.json"))
    args = parser.parse_args()
    device = find_device(args.device)
    setting = Setting(device, small=device.type == "cpu")
    chosen = {n: p for n, p in parts(setting.small).items() if n.startswith(tuple(args.only))}
    if not chosen:
        raise UserError(f"--only {' '.join(args.only)}: no such part")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    report = check_all(chosen, setting, args.out, args.budget)
    print_table(report, json.loads(EXPECTED.read_text())["gpus"])
    print(f"\nwritten to {args.out}")
    return int(any(part["problems"] for part in report["parts"].values()))
