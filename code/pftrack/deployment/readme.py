"""The page that lies in every export."""

from __future__ import annotations

from dataclasses import asdict

from pftrack.deployment.description import MEMORY, NEXT, Deployment, TensorSpec

_TEXT = """# Exported tracker

{graph}: `{checkpoint}` ({config}), {precision}, {slots} slots for tracks, images of
{height}x{width} from {cameras} cameras. One call is one frame: a frame and the memory go in, the
report and the next memory come out. Every shape is fixed.

{usage}

## A frame

{frame}

* `images`: BGR, resized to {resize_width}x{resize_height} and cropped to (left, top, right, bottom)
  = {crop}, zero in the padding on the right and below. Not normalised: the graph does that.
* `calibration`: {calibration}
* `ego_motion`: points (m) of the last frame's lidar to this one's:
  `inv(lidar2global_now) @ lidar2global_last`, taken in float64.
* `seconds`: since the last frame. `new_sequence`: true for a stream's first frame; the other inputs
  about the last frame do not matter then.

## The memory

Begin with zeros and hand `{next}*` of every frame to `{memory}*` of the next one.

{memory_table}

## The report

Best score first; only the rows with `reported` count.

{report}

* `boxes`: x, y, z of the centre, width, length, height (m), rot = -yaw - pi/2 (rad), vx, vy (m/s),
  in this frame's lidar coordinates.
* `labels`: {classes}.
* `ids`: within the sequence. `rows`: place among the instances of the frame.
* `dropped`: live tracks that found no slot.

Thresholds that are built in: {thresholds}. Largest differences from PyTorch on generated frames:
{score:.1e} in scores, {center:.1e} m in centres, {feature:.1e} in features. Made with {versions}.
"""

_ONNX = """With this project's package, and without PyTorch:

    from pftrack.deployment import OnnxTracker
    tracker = OnnxTracker("this folder")
    tracks = tracker.step(frame)"""

_TORCH = """With PyTorch: `torch.export.load("{graph}").module()` is a function of two dicts, the
frame and the memory (names without `{memory}`), that returns the report and the next memory.
`tracker.aoti.pt2`, where it is there, is the same compiled for this processor:
`torch._inductor.aoti_load_package`."""

_CALIBRATION = {
    "lidar2img": "lidar points (m) to pixels of `images`:\n"
    "  (u d, v d, d, 1) = matrix @ (x, y, z, 1).",
    "img2lidar": "the inverse, taken in float64, of the matrix that takes lidar points (m) to\n"
    "  pixels of `images`, (u d, v d, d, 1) = matrix @ (x, y, z, 1).",
}


def readme(deployment: Deployment) -> str:
    """What the graph takes and gives, in Markdown."""
    image = deployment.image
    height, width = deployment.image_size
    usage = _ONNX if deployment.format == "onnx" else _TORCH
    memory = deployment.memory
    names = {spec.name for spec in memory}
    report = [spec for spec in deployment.outputs if not spec.name.startswith(NEXT)]
    return _TEXT.format(
        graph=" with its weights in ".join([deployment.graph, *deployment.weights]),
        checkpoint=deployment.checkpoint,
        config=deployment.config,
        precision=deployment.precision,
        slots=deployment.slots,
        cameras=deployment.cameras,
        height=height,
        width=width,
        resize_width=image.resize_dims[0],
        resize_height=image.resize_dims[1],
        crop=tuple(image.crop),
        usage=usage.format(graph=deployment.graph, memory=MEMORY),
        calibration=_CALIBRATION[deployment.calibration],
        frame=_table([spec for spec in deployment.inputs if spec.name not in names]),
        memory=MEMORY,
        next=NEXT,
        memory_table=_table(memory),
        report=_table(report),
        classes=", ".join(f"{i} {name}" for i, name in enumerate(deployment.classes)),
        thresholds=", ".join(f"{k} {v}" for k, v in asdict(deployment.thresholds).items()),
        versions=", ".join(f"{k} {v}" for k, v in deployment.versions.items()),
        **deployment.differences,
    )


def _table(specs: list[TensorSpec]) -> str:
    rows = [f"| `{s.name}` | {'x'.join(map(str, s.shape))} | {s.dtype} |" for s in specs]
    return "\n".join(["| name | shape | type |", "| --- | --- | --- |", *rows])
