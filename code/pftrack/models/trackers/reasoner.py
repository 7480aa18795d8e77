"""Past and future reasoning over the tracker's memory (PF-Track, sections 3.3 and 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pftrack.errors import UserError
from pftrack.geometry import denormalize_points, normalize_points
from pftrack.models.box_coder import (
    CODE_SIZE,
    code_centers,
    refine_code,
    with_centers,
)
from pftrack.models.layers.mlp import mlp
from pftrack.models.layers.positional_encoding import time_position_embedding
from pftrack.models.trackers.track_instances import TrackInstances
from pftrack.registry import build_model
from pftrack.values import AtLeastOne

# The score of an instance that goes on by its forecast alone, as in the published tracker.
PROVISIONAL_SCORE = 0.01


def default_transformer(embed_dims: int = 256) -> dict[str, Any]:
    """Two decoder layers, as every published configuration has them."""
    attention = {"type": "MultiheadAttention", "embed_dims": embed_dims, "num_heads": 8}
    layer = {"type": "PETRTransformerDecoderLayer", "attn_cfgs": [attention, attention]}
    decoder = {"type": "PETRTransformerDecoder", "num_layers": 2, "transformerlayers": layer}
    return {"type": "TemporalTransformer", "decoder": decoder}


class SpatialTemporalReasoner(nn.Module):
    """Keeps the history, refines this frame with it, forecasts the next ones.

    Args:
        history_reasoning, future_reasoning: which parts exist; both attributes may be switched off
            (and on again) at run time.
        hist_len: H >= 2 frames.  fut_len: F steps.  num_classes: C.  embed_dims: D.
        pc_range: m.  num_reg_fcs: hidden layers of the branches.
        hist_temporal_transformer, spatial_transformer, fut_temporal_transformer: configurations.
        with_cp: recompute in the backward pass instead of storing activations.
    """

    def __init__(
        self,
        history_reasoning: bool = True,
        future_reasoning: bool = True,
        hist_len: int = 3,
        fut_len: int = 8,
        num_classes: AtLeastOne = 10,
        embed_dims: AtLeastOne = 256,
        pc_range: Sequence[float] = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0),
        num_reg_fcs: int = 2,
        code_size: int = CODE_SIZE,
        hist_temporal_transformer: dict[str, Any] | None = None,
        spatial_transformer: dict[str, Any] | None = None,
        fut_temporal_transformer: dict[str, Any] | None = None,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        if hist_len < 2 or fut_len < 1:
            raise UserError(f"hist_len={hist_len}, fut_len={fut_len}: need at least 2 and 1")
        if code_size != CODE_SIZE:
            raise UserError(f"code_size={code_size}: box codes have {CODE_SIZE} entries")
        self.history_reasoning = history_reasoning
        self.future_reasoning = future_reasoning
        self.hist_len, self.fut_len = hist_len, fut_len
        self.embed_dims = embed_dims
        self.pc_range = tuple(pc_range)
        self.with_cp = with_cp
        default = default_transformer(embed_dims)
        if history_reasoning:
            self.hist_temporal_transformer = build_model(hist_temporal_transformer or default)
            self.spatial_transformer = build_model(spatial_transformer or default)
            self.track_cls = mlp(embed_dims, num_classes, num_reg_fcs)
            self.track_reg = mlp(embed_dims, CODE_SIZE, num_reg_fcs)
        if future_reasoning:
            self.fut_temporal_transformer = build_model(fut_temporal_transformer or default)
            self.future_reg = mlp(embed_dims, 3, num_reg_fcs)
        if history_reasoning or future_reasoning:
            self.ts_query_embed = mlp(embed_dims, embed_dims, 1, norm=False)
        for parameter in self.parameters():  # the transformers' matrices included
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    # --- time passes ------------------------------------------------------------------------------

    def frame_shift(self, instances: TrackInstances) -> TrackInstances:
        """The cache enters the history; the first forecast becomes the provisional state."""
        cache, state = instances.cache, instances.state
        if self.future_reasoning:
            state = state.replace(
                reference_points=instances.fut_xyz[:, 0],
                bboxes=instances.fut_bboxes[:, 0],
                scores=torch.full_like(state.scores, PROVISIONAL_SCORE),
                logits=torch.zeros_like(state.logits),
            )
        state = state.replace(motion_predictions=_drop_first(state.motion_predictions))
        return instances.replace(
            state=state,
            hist_embeds=_push(instances.hist_embeds, cache.query_feats),
            hist_padding_masks=_push(
                instances.hist_padding_masks, torch.zeros_like(instances.track_query_mask)
            ),
            hist_xyz=_push(instances.hist_xyz, cache.reference_points),
            fut_xyz=_drop_first(instances.fut_xyz),
            fut_bboxes=_drop_first(instances.fut_bboxes),
        )

    # --- past -------------------------------------------------------------------------------------

    def refine(self, instances: TrackInstances, absent: Tensor | None = None) -> TrackInstances:
        """Past reasoning: this frame's estimate in the light of each instance's history and of the
        other instances.

        Args:
            absent: [N] bool, True = an empty slot, which no instance sees; None: there is none.
        """
        cache = instances.cache
        feats = self._maybe_checkpoint(
            self._attend_to_past,
            cache.query_feats,
            cache.query_embeds,
            instances.hist_embeds,
            instances.hist_padding_masks,
            absent,
        )
        logits = self.track_cls(feats)
        raw = self.track_reg(feats)
        bboxes, reference_points = refine_code(raw, cache.reference_points, self.pc_range)
        feats = feats.float()
        hist_embeds = torch.cat([instances.hist_embeds[:, :-1], feats.detach()[:, None]], dim=1)
        return instances.replace(
            cache=cache.replace(
                query_feats=feats,
                logits=logits,
                scores=logits.sigmoid().amax(-1),
                bboxes=bboxes,
                reference_points=reference_points,
            ),
            hist_embeds=hist_embeds,
        )

    def _attend_to_past(
        self,
        feats: Tensor,
        embeds: Tensor,
        hist_embeds: Tensor,
        hist_padding_masks: Tensor,
        absent: Tensor | None,
    ) -> Tensor:
        """Refined features [N, D] of features and query embeds [N, D], history [N, H, D]."""
        n = len(feats)
        steps = self._time_positions(self.hist_len, feats.device)
        feats = self.hist_temporal_transformer(
            feats[:, None],
            hist_embeds,
            query_pos=steps[-1].expand(n, 1, -1),
            key_pos=steps.expand(n, -1, -1),
            key_padding_mask=hist_padding_masks,
        )[-1].transpose(0, 1)
        embeds, absent = embeds[None], None if absent is None else absent[None]
        return self.spatial_transformer(
            feats,
            feats,
            query_pos=embeds,
            key_pos=embeds,
            key_padding_mask=absent,
            query_padding_mask=absent,
        )[-1][0]

    # --- future -----------------------------------------------------------------------------------

    def forecast(self, instances: TrackInstances) -> TrackInstances:
        """Future reasoning: the displacement of each of the next F steps of 0.5 s enters the cache
        as ``motion_predictions`` [N, F, 3] (m, of which x and y are used)."""
        feats = self._maybe_checkpoint(
            self._attend_from_future, instances.hist_embeds, instances.hist_padding_masks
        )
        displacements = self.future_reg(feats)
        return instances.replace(cache=instances.cache.replace(motion_predictions=displacements))

    def _attend_from_future(self, hist_embeds: Tensor, hist_padding_masks: Tensor) -> Tensor:
        """Features [N, F, D] of the future steps from the history [N, H, D]."""
        n = len(hist_embeds)
        steps = self._time_positions(self.hist_len + self.fut_len, hist_embeds.device)
        return self.fut_temporal_transformer(
            hist_embeds.new_zeros(n, self.fut_len, self.embed_dims),
            hist_embeds,
            query_pos=steps[self.hist_len :].expand(n, -1, -1),
            key_pos=steps[: self.hist_len].expand(n, -1, -1),
            key_padding_mask=hist_padding_masks,
        )[-1]

    # --- what remains -----------------------------------------------------------------------------

    def summarize(
        self, instances: TrackInstances, record_threshold: float | None = None
    ) -> TrackInstances:
        """Make this frame's cache the state and rebuild the future from it.

        Args:
            record_threshold: instances with a lower score keep their provisional state, which
                extends a track through an occlusion; None (training): all are copied.
        """
        cache = instances.cache
        fut_xyz, fut_bboxes = instances.fut_xyz, instances.fut_bboxes
        if self.future_reasoning:
            fut_xyz, fut_bboxes = self._future_positions(
                cache.reference_points, cache.bboxes, cache.motion_predictions
            )
        if record_threshold is None:
            return instances.replace(state=cache, fut_xyz=fut_xyz, fut_bboxes=fut_bboxes)
        seen = cache.scores >= record_threshold
        return instances.replace(
            state=cache.where(seen, instances.state),
            fut_xyz=torch.where(seen[:, None, None], fut_xyz, instances.fut_xyz),
            fut_bboxes=torch.where(seen[:, None, None], fut_bboxes, instances.fut_bboxes),
        )

    def _future_positions(
        self, reference_points: Tensor, bboxes: Tensor, displacements: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Positions [N, F, 3] and codes [N, F, 10] after 1 .. F displacements [N, F, 3]."""
        xy = displacements.detach()[..., :2].cumsum(dim=1)
        offsets = torch.cat([xy, torch.zeros_like(xy[..., :1])], dim=-1)
        now = denormalize_points(reference_points, self.pc_range)[:, None]
        codes = bboxes[:, None].expand(-1, self.fut_len, -1)
        return (
            normalize_points(now + offsets, self.pc_range),
            with_centers(codes, code_centers(codes) + offsets),
        )

    def _time_positions(self, num_steps: int, device: torch.device) -> Tensor:
        """Embeddings [num_steps, D] of the steps."""
        return self.ts_query_embed(time_position_embedding(num_steps, self.embed_dims, device))

    def _maybe_checkpoint(self, function: Any, *args: Tensor | None) -> Tensor:
        if self.with_cp and self.training and torch.is_grad_enabled():
            return checkpoint(function, *args, use_reentrant=False)
        return function(*args)


def _push(history: Tensor, newest: Tensor) -> Tensor:
    """[N, H, ...] without its oldest entry, with [N, ...] at the end."""
    return torch.cat([history[:, 1:], newest[:, None]], dim=1)


def _drop_first(future: Tensor) -> Tensor:
    """[N, F, ...] one step later, zeros at the end."""
    return torch.cat([future[:, 1:], torch.zeros_like(future[:, :1])], dim=1)
