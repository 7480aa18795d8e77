"""Rounding noise: what a tracker does when its inputs are off by as little as two BLAS differ.

DETR3D's head samples feature maps where its queries' reference points project to. With random
weights on random images that amplifies the last digits a thousandfold over the layers, and again
from frame to frame. Checks measure it with disturbed runs and allow each entry that much; PETR's
head attends to all pixels, is smooth, and is compared as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from projects.tracking_plugin.models.dense_heads.petr_head import PETRCamTrackingHead
from projects.tracking_plugin.models.trackers.track_instances import TrackInstances
from projects.tracking_plugin.parity.check_network import BLAS_NOISE, NOISE_RUNS
from projects.tracking_plugin.structures import FrameBatch


def noise_generators(model: Any) -> list[torch.Generator]:
    """A generator for each disturbed run that a model needs: none for a smooth one."""
    runs = 0 if isinstance(model.pts_bbox_head, PETRCamTrackingHead) else NOISE_RUNS
    return [torch.Generator().manual_seed(seed) for seed in range(runs)]


@contextmanager
def replaced(model: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """A method of a model exchanged for a while."""
    setattr(model, name, function)
    try:
        yield
    finally:
        delattr(model, name)


@contextmanager
def disturbed(model: Any, generator: torch.Generator | None) -> Iterator[None]:
    """The head's query embeddings off by :data:`BLAS_NOISE`; None: nothing is."""
    if generator is None:
        yield
        return
    detect = model.detect

    def with_noise(feats: Any, frame: FrameBatch, instances: TrackInstances) -> Any:
        embeds = instances.state.query_embeds
        embeds = embeds * (1 + BLAS_NOISE * torch.randn(embeds.shape, generator=generator))
        state = instances.state.replace(query_embeds=embeds)
        return detect(feats, frame, instances.replace(state=state))

    with replaced(model, "detect", with_noise):
        yield
