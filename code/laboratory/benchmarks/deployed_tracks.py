"""Do ONNX Runtime and the static step report what the ordinary tracker reports?

    python tools/bench.py deployed_tracks --data-root work_dirs/demo/nuscenes

Tracks a split with each engine and compares their results files: boxes of the same track id, how
far their centres lie apart, and the metrics. A box whose score lies within 1e-4 of a threshold may
be reported by one and not by the other; these are counted apart.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from laboratory.measuring.record import WALL, Row
from pftrack.arguments import Parser

ENGINES = ("torch", "static", "onnx")
NEAR = 1e-4  # of a score to a threshold
CLOSE = 2e-3  # m, of a centre to the reference's


def run(argv: list[str]) -> list[Row]:
    """Entry of ``tools/bench.py deployed_tracks``."""
    parser = Parser(prog="bench.py deployed_tracks", description=__doc__)
    parser.add_argument("--checkpoint", default="demo/f3_demo.pth")
    parser.add_argument("--data-root", help="folder of the data, with its info files")
    parser.add_argument("--infos", default="tracking_forecasting-mini_infos_val.pkl")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--precision", choices=["fp32", "fp16"], default="fp32")
    parser.add_argument("--out", help="folder to keep the results in")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        return _compare(args, Path(args.out or folder))


def _compare(args: argparse.Namespace, folder: Path) -> list[Row]:
    from pftrack.checkpoints.fit import config_of_checkpoint
    from pftrack.checkpoints.reading import find_checkpoint
    from pftrack.config import load_config
    from pftrack.evaluation.run import evaluate_file
    from pftrack.nuscenes.results_file import read_results

    checkpoint = find_checkpoint(args.checkpoint)
    config = config_of_checkpoint(checkpoint)
    thresholds = load_config(config).model["runtime_tracker"]
    levels = [thresholds["output_threshold"], thresholds["score_threshold"]]
    reference: dict[str, Any] = {}
    rows = []
    header = f"{'engine':8}{'boxes':>8}{'same id':>9}{'near':>6}{'other':>7}{'same %':>9}"
    print(f"{header}{'centre m':>10}{'2 mm %':>8}{'AMOTA':>8}{'AMOTP':>8}{'IDS':>6}{'wall s':>8}")
    for engine in args.engines:
        found = _track(engine, str(config), str(checkpoint), args, folder)
        boxes: dict[Any, Any] = {
            (token, box["tracking_id"]): box
            for token, boxes_of_frame in read_results(found.result_path)
            for box in boxes_of_frame
        }
        reference = reference or boxes
        evaluation = evaluate_file(found.result_path, found.data_root, found.version, "val")
        metrics = evaluation.tracking.summary()
        print(f"{engine:8}{_agreement(boxes, reference, levels)}", end="")
        print(f"{metrics['amota']:8.4f}{metrics['amotp']:8.4f}{metrics['ids']:6.0f}", end="")
        print(f"{found.wall_seconds:8.1f}", flush=True)
        numbers = {name: float(metrics[name]) for name in ("amota", "amotp", "ids")}
        rows.append(Row(engine, {**numbers, WALL: found.wall_seconds}))
    return rows


def _track(
    engine: str, config: str, checkpoint: str, args: argparse.Namespace, folder: Path
) -> Any:
    from pftrack.deployment.export import export_tracker
    from pftrack.tracking.job import InferenceJob
    from pftrack.tracking.runner import run_inference

    overrides: tuple[str, ...] = ()
    if args.data_root:
        infos = Path(args.data_root) / args.infos
        overrides = (f"data.val.data_root={args.data_root}/", f"data.val.ann_file={infos}")
    deployment = None
    if engine == "onnx":
        deployment = str(folder / "deployment")
        export_tracker(config, checkpoint, deployment, precision=args.precision)
    job = InferenceJob(
        config,
        checkpoint,
        overrides=overrides,
        precision=args.precision,
        engine=engine,  # type: ignore[arg-type]
        deployment=deployment,
    )
    return run_inference(job, ["cpu"], folder / engine)


def _agreement(boxes: dict[Any, Any], reference: dict[Any, Any], levels: list[float]) -> str:
    """Columns: boxes, those with the same id, those near a threshold, others, share, the farthest
    centre and the share of centres within :data:`CLOSE`."""
    import numpy as np

    same = boxes.keys() & reference.keys()
    odd = [box for kind in (boxes, reference) for key, box in kind.items() if key not in same]
    near = sum(any(abs(b["tracking_score"] - level) < NEAR for level in levels) for b in odd)
    centers = [
        np.abs(np.subtract(boxes[key]["translation"], reference[key]["translation"])).max()
        for key in same
    ]
    share = 100 * len(same) / max(len(same) + len(odd) - near, 1)
    distance = max(centers, default=0.0)
    close = 100 * float(np.mean([center <= CLOSE for center in centers] or [0.0]))
    counts = f"{len(boxes):8}{len(same):9}{near:6}{len(odd) - near:7}"
    return f"{counts}{share:9.3f}{distance:10.5f}{close:8.2f}"
