"""Several streams on one model: their next frames go through the backbone in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from pftrack.boxes import Boxes
from pftrack.datasets.frames import FrameArrays
from pftrack.errors import UserError
from pftrack.models.acceleration import precision_context
from pftrack.models.trackers.life_cycle import TrackOutput
from pftrack.structures import Frame, FrameBatch
from pftrack.tracking.api import Tracker

Observe = Callable[[TrackOutput, FrameBatch], None]


def step_together(
    trackers: Sequence[Tracker],
    frames: Sequence[Frame],
    arrays: Sequence[FrameArrays] | None = None,
    observe: Sequence[Observe] | None = None,
) -> list[Boxes]:
    """Track one more frame of each stream: as :meth:`Tracker.step_boxes` of one after the other.

    Backbone and neck see all images in one call. Head, memory and reasoning are each stream's own:
    streams have different numbers of tracks. On a CPU the boxes are the same to the last digit; a
    GPU may choose other kernels for more images.

    Args:
        trackers: of one model and precision (:meth:`Tracker.another_stream`).
        frames: one of each, with as many cameras.  arrays, observe: of each, as for
            :meth:`Tracker.step_boxes`.

    Raises:
        UserError: trackers of several models, frames of several shapes, see :meth:`Tracker.batch`.
    """
    if not trackers:
        return []
    first = trackers[0]
    if any(t.model is not first.model or t.precision != first.precision for t in trackers):
        raise UserError(
            "streams that go together share one model and precision: make the others of the first "
            "by another_stream()"
        )
    prepared: Sequence[FrameArrays | None] = arrays or [None] * len(trackers)
    batches = [t.batch(f, a) for t, f, a in zip(trackers, frames, prepared, strict=True)]
    shapes = {tuple(batch.img.shape) for batch in batches}
    if len(shapes) > 1:
        raise UserError(
            "streams that go together have images of one shape and as many cameras; these have "
            f"{' and '.join(str(list(shape[1:])) for shape in sorted(shapes))}"
        )
    with (
        first.stage("backbone"),
        torch.no_grad(),
        precision_context(first.precision, first.device),
    ):
        # Joined as they lie in memory, channels last, so that nothing is laid out anew.
        images = torch.cat([batch.img.movedim(2, -1) for batch in batches]).movedim(-1, 2)
        feats = first.model.extract_feats(images)
    return [
        tracker.step_batch(
            frame,
            batches[b],
            None if observe is None else observe[b],
            [level[b : b + 1] for level in feats],
        )
        for b, (tracker, frame) in enumerate(zip(trackers, frames, strict=True))
    ]
