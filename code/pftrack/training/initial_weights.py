"""Where a training starts from: an explicit file, the previous step's result, a published file.

Step two (f3) continues step one (f1), f5 continues f3. Names of configurations carry the step:
``f3_q5_800x320`` follows ``f1_q5_800x320``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from pftrack.checkpoints.reading import find_checkpoint
from pftrack.config import configuration_name
from pftrack.errors import UserError
from pftrack.paths import CHECKPOINTS_DIR
from pftrack.training.checkpoint import find_latest, read_progress

_PREVIOUS_STEP = {3: 1, 5: 3}
# What the shipped configurations and the original's load; results of earlier steps take their
# place. Any other name is a file of the user's own.
PUBLISHED_STARTS = tuple(
    f"ckpts/{name}.pth"
    for name in (
        "fcos3d_vovnet_imgbackbone-remapped",
        "f1_q5_e12",
        "f1_q5_fullres_e24",
        "f3_q5_e12",
        "f1_detr3d_e12",
        "f1_detr3d_fullres_e24",
        "demo/f1_demo",
        "demo/f3_demo",
        "demo/f5_demo",
    )
)


def previous_configuration(config_file: str | Path) -> str | None:
    """Name of the configuration whose result this one continues, or None for step one."""
    folder, stem = configuration_name(config_file).split("/")
    match = re.match(r"f(\d+)_", stem)
    step = _PREVIOUS_STEP.get(int(match.group(1))) if match else None
    return None if step is None else f"{folder}/f{step}_{stem.split('_', 1)[1]}"


def find_initial_weights(
    config_file: Path,
    work_dir: Path,
    explicit: str | None,
    configured: str | None,
    log: Callable[[str], None],
) -> Path | None:
    """The checkpoint whose weights a training begins with.

    In this order: the file named explicitly (LOAD_FROM), or by a ``load_from`` of the user's own;
    for step two the newest checkpoint of its step one in the work dir or a folder beside it; the
    published file that the configuration names, looked up below ``checkpoints/`` too.

    Args:
        explicit: LOAD_FROM; 'none' starts from random weights.
        configured: ``load_from`` of the configuration.

    Returns:
        None for a start from random weights: asked for, or step one without its pretrained
        backbone (said in the log).

    Raises:
        UserError: the user's file is missing, or step two has nothing to start from.
    """
    if explicit:
        return None if explicit.lower() == "none" else find_checkpoint(explicit)
    if configured and configured not in PUBLISHED_STARTS:
        return find_checkpoint(configured)
    previous = previous_configuration(config_file)
    if previous is not None:
        found = newest_of_configuration(previous, work_dir, log)
        if found is not None:
            log(f"step one found in the work dir: {found}")
            return found
    published = find_published(configured) if configured else None
    if published is not None:
        return published
    if previous is not None:
        wanted = f" (nor the published {configured})" if configured else ""
        raise UserError(
            f"step two needs a trained step one: no checkpoint of {previous} in {work_dir.parent}"
            f"{wanted}; run 'make train-f1' first, 'make checkpoints' for the published one, or "
            "set LOAD_FROM=file.pth (LOAD_FROM=none: random weights)"
        )
    if configured:
        log(
            f"pretrained weights {configured} not found ('make checkpoints'): "
            "starting from random ones"
        )
    return None


def newest_of_configuration(
    name: str, work_dir: Path, log: Callable[[str], None] | None = None
) -> Path | None:
    """Newest whole checkpoint of configuration ``name`` in ``work_dir`` or its sibling folders."""
    folders = [work_dir, *sorted(p for p in work_dir.parent.glob("*") if p.is_dir())]
    found = []
    for folder in dict.fromkeys(folders):
        latest = find_latest(folder, log) if folder.is_dir() else None
        if latest is not None and configuration_name(_trained_config(latest)) == name:
            found.append(latest)
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _trained_config(path: Path) -> str:
    """Config file a whole checkpoint of ours was trained with; './' when it does not say."""
    return read_progress(path).meta.record.config_file or "./unknown"


def find_published(name: str) -> Path | None:
    """A configuration's ``load_from``, as named or anywhere below ``checkpoints/``."""
    try:
        return find_checkpoint(name)
    except UserError:
        return next(iter(sorted(CHECKPOINTS_DIR.rglob(Path(name).name))), None)
