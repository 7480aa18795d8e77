"""PF-Track: one frame's life in training (:meth:`Cam3DTracker.forward_train`) and in tracking
(:meth:`Cam3DTracker.forward_track`).

Both run the same steps: queries = detection queries + tracks -> detect -> remember -> shift time ->
refine by the past -> forecast the future -> summarise -> keep -> move into the next frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pftrack.errors import UserError
from pftrack.geometry import change_lidar_frame, lidar_motion, transform_points
from pftrack.models.acceleration import full_precision
from pftrack.models.dense_heads.base import HeadOutput, Past
from pftrack.models.layers.grid_mask import GridMask
from pftrack.models.layers.mlp import FullPrecisionSequential
from pftrack.models.layers.positional_encoding import pos2posemb3d
from pftrack.models.losses.tracking_loss import Match
from pftrack.models.shapes import check_maps
from pftrack.models.trackers import motion
from pftrack.models.trackers.life_cycle import (
    StreamMemory,
    Thresholds,
    TrackOutput,
    enter_frame,
    live_on,
)
from pftrack.models.trackers.reasoner import SpatialTemporalReasoner
from pftrack.models.trackers.track_instances import Estimate, TrackInstances
from pftrack.registry import MODELS, build_model, check_agreement, check_arguments
from pftrack.stated import accept
from pftrack.structures import ClipBatch, FrameBatch, FramePose
from pftrack.values import AtLeastOne, Range

StageTimer = Callable[[str], AbstractContextManager[Any]]


def untimed(_stage: str) -> AbstractContextManager[Any]:
    """Stages are not timed."""
    return nullcontext()


@MODELS.register_module()
class Cam3DTracker(nn.Module):
    """Query-based multi-camera 3D tracker.

    Args:
        img_backbone, img_neck, pts_bbox_head: configurations of the detector.
        loss: configuration of matching and losses.
        num_classes: C.  num_query: detection queries Q.  embed_dims: D.
        pc_range: m, the same as the box coder's.
        tracking: detection queries have a learned content part.
        train_backbone: False: the backbone is frozen and runs without gradient.
        if_update_ego: tracks follow the ego vehicle's motion between frames.
        motion_prediction: tracks move between frames,
        motion_prediction_ref_update: by their forecast; else by their velocity.
        runtime_tracker: of :class:`Thresholds`, the default ones of tracking.
        spatial_temporal_reason: arguments of :class:`SpatialTemporalReasoner`.
        use_grid_mask: GridMask augmentation while training, drawn once for all images of a clip.
        train_cfg, stated: of mm-style configurations, without effect (stated.py).

    Raises:
        UserError: parts that do not agree on the number of classes, the range or the channels.
    """

    def __init__(
        self,
        img_backbone: dict[str, Any],
        img_neck: dict[str, Any],
        pts_bbox_head: dict[str, Any],
        loss: dict[str, Any] | None = None,
        num_classes: AtLeastOne = 10,
        num_query: AtLeastOne = 500,
        embed_dims: AtLeastOne = 256,
        pc_range: Range | None = None,
        tracking: bool = True,
        train_backbone: bool = True,
        if_update_ego: bool = True,
        motion_prediction: bool = True,
        motion_prediction_ref_update: bool = True,
        runtime_tracker: dict[str, Any] | None = None,
        spatial_temporal_reason: dict[str, Any] | None = None,
        use_grid_mask: bool = False,
        train_cfg: dict[str, Any] | None = None,
        **stated: Any,
    ) -> None:
        super().__init__()
        accept(stated, "Cam3DTracker")
        accept(train_cfg or {}, "train_cfg", read=("pts",))
        coder = pts_bbox_head.get("bbox_coder") or {"type": "BoxCoder"}
        if not isinstance(coder, Mapping):
            raise UserError(f"bbox_coder of the head in the config is no dict: {coder!r:.80}")
        self.bbox_coder = build_model(coder)
        self.pc_range = tuple(self.bbox_coder.pc_range)
        parts = {
            "pts_bbox_head": pts_bbox_head,
            "pts_bbox_head.bbox_coder": pts_bbox_head.get("bbox_coder") or {},
            "loss": loss or {},
            "spatial_temporal_reason": spatial_temporal_reason or {},
        }
        check_agreement("num_classes", "model", num_classes, parts)
        check_agreement("embed_dims", "model", embed_dims, parts)
        check_agreement(
            "pc_range", "its box coder", self.pc_range, {**parts, "model": {"pc_range": pc_range}}
        )
        self.pts_bbox_head = build_model(pts_bbox_head, pc_range=list(self.pc_range))
        self.img_backbone = build_model(img_backbone)
        self.img_neck = build_model(img_neck)
        check_maps(self.img_backbone, self.img_neck, self.pts_bbox_head)
        self.criterion = build_model(loss or {"type": "TrackingLoss"}, num_classes=num_classes)
        check_arguments(SpatialTemporalReasoner, spatial_temporal_reason or {})
        self.STReasoner = SpatialTemporalReasoner(
            **{
                "num_classes": num_classes,
                "embed_dims": embed_dims,
                "pc_range": self.pc_range,
                **(spatial_temporal_reason or {}),
            }
        )
        self.reference_points = nn.Embedding(num_query, 3)
        self.query_embedding = FullPrecisionSequential(
            nn.Linear(embed_dims * 3 // 2, embed_dims),
            nn.ReLU(),
            nn.Linear(embed_dims, embed_dims),
        )
        self.query_feat_embedding = nn.Embedding(num_query, embed_dims) if tracking else None
        self.grid_mask = GridMask() if use_grid_mask else None
        check_arguments(Thresholds, runtime_tracker or {})
        self.thresholds = Thresholds(**(runtime_tracker or {}))
        self.num_classes, self.embed_dims = num_classes, embed_dims
        self.train_backbone = train_backbone
        self.if_update_ego = if_update_ego
        self.motion_prediction = motion_prediction
        self.motion_prediction_ref_update = motion_prediction_ref_update
        nn.init.uniform_(self.reference_points.weight, 0, 1)
        if self.query_feat_embedding is not None:
            nn.init.zeros_(self.query_feat_embedding.weight)
        if not train_backbone:  # else it may have frozen parts of its own
            self.img_backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> Cam3DTracker:
        """Training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if not self.train_backbone:
            self.img_backbone.eval()
        return self

    def forward(self, batch: ClipBatch) -> dict[str, Tensor]:
        """:meth:`forward_train`, for DistributedDataParallel."""
        return self.forward_train(batch)

    # --- training ---------------------------------------------------------------------------------

    def forward_train(self, batch: ClipBatch) -> dict[str, Tensor]:
        """Losses of B clips of T frames; every clip is tracked on its own.

        Args:
            batch: normalised, on the model's device, with targets.

        Returns:
            losses by the names that logs show, the last frame's without, the others' with the
            prefix ``f{t}.``; the total is the sum of the entries whose key contains "loss".
        """
        if not batch.targets:
            raise UserError("training needs ground truth: the batch has no targets")
        samples = range(batch.batch_size)
        feats = self.extract_clip_feats(batch)
        tracks: list[TrackInstances] = []
        matches: list[Match] = []
        outputs: list[HeadOutput] = []
        pasts: list[Past | None] = [None for _ in samples]
        losses: dict[str, Tensor] = {}
        for t in range(batch.num_frames):
            targets = [batch.targets[b][t] for b in samples]
            if t > 0:
                tracks = [
                    self.STReasoner.summarize(i).select(m.surviving)
                    for i, m in zip(tracks, matches, strict=True)
                ]
                before, now = ([batch.sample_frame(b, i).pose for b in samples] for i in (t - 1, t))
                tracks = [self.move(tracks[b], before[b], now[b]) for b in samples]
                pasts = [Past.recall(outputs[b].memory, before[b], now[b]) for b in samples]
            instances = [self.with_detection_queries(tracks[b] if t > 0 else None) for b in samples]
            outputs = self._detect_samples(
                [level[:, t] for level in feats], batch, t, instances, pasts
            )
            tracks, matches, frame_losses = self._learn_frame(instances, outputs, targets)
            prefix = "" if t == batch.num_frames - 1 else f"f{t}."
            losses |= {prefix + name: value for name, value in frame_losses.items()}
        return losses

    def _detect_samples(
        self,
        feats: list[Tensor],
        batch: ClipBatch,
        t: int,
        instances: list[TrackInstances],
        pasts: list[Past | None],
    ) -> list[HeadOutput]:
        """:meth:`detect` for every sample; in one call where all have as many instances, as in a
        clip's first frame and so in all of step one."""
        if len({len(i) for i in instances}) > 1:
            frames = [batch.sample_frame(b, t) for b in range(batch.batch_size)]
            return [
                self.detect([level[b : b + 1] for level in feats], frame, i, past=pasts[b])
                for b, (frame, i) in enumerate(zip(frames, instances, strict=True))
            ]
        return self.detect(feats, batch.frame(t), *instances, past=Past.cat(pasts)).split()

    def _learn_frame(
        self, instances: list[TrackInstances], outputs: list[HeadOutput], targets: list[Any]
    ) -> tuple[list[TrackInstances], list[Match], dict[str, Tensor]]:
        """The instances of one frame that carry an id, its matches and losses; one entry of each
        list per sample."""
        criterion, reasoner = self.criterion, self.STReasoner
        logits = [out.all_cls_scores[:, 0] for out in outputs]
        codes = [out.all_bbox_preds[:, 0] for out in outputs]
        instances = [self.remember(i, out) for i, out in zip(instances, outputs, strict=True)]
        instances, matches = criterion.match(logits, codes, instances, targets)
        losses = criterion.detection_losses(logits, codes, matches, targets)

        instances = [reasoner.frame_shift(i) for i in instances]
        if reasoner.history_reasoning:
            instances = [reasoner.refine(i) for i in instances]
            losses |= criterion.memory_losses(instances, targets)

        tracks = [i.select(m.carrying) for i, m in zip(instances, matches, strict=True)]
        if reasoner.future_reasoning:
            tracks = [reasoner.forecast(i) for i in tracks]
            losses |= criterion.forecast_losses(tracks, targets)
        return tracks, matches, losses

    # --- tracking ---------------------------------------------------------------------------------

    @torch.no_grad()
    def forward_track(
        self,
        frame: FrameBatch,
        memory: StreamMemory | None = None,
        thresholds: Thresholds | None = None,
        stage: StageTimer = untimed,
        feats: list[Tensor] | None = None,
    ) -> tuple[TrackOutput, StreamMemory]:
        """Track one more frame of a stream.

        Args:
            frame: B = 1, normalised, on the model's device; a time stamp on the host saves a
                synchronisation.
            memory: what the stream's last frame returned; None: the stream begins.
            thresholds: None: the configuration's.
            stage: called with a stage's name, gives the context that the stage runs in.
            feats: of the frame's images, where they are there already (:meth:`extract_feats`).

        Returns:
            the reported tracks, and the memory for the next frame.
        """
        memory, thresholds = memory or StreamMemory(), thresholds or self.thresholds
        with stage("life cycle"):
            memory = enter_frame(memory, frame.pose)
            tracks = memory.tracks
            if tracks is not None and memory.last is not None:
                tracks = self.move(tracks, memory.last, frame.pose)
            past = Past.recall(memory.head, memory.last, frame.pose)
            instances = self.with_detection_queries(tracks)
        if feats is None:
            with stage("backbone"):
                feats = self.extract_feats(frame.img)
        with stage("head"):
            seen = self.detect(feats, frame, instances, past=past)
            instances = self.remember(instances, seen)
        with stage("reasoning"):
            instances = self.reason(instances, thresholds.record_threshold)
        with stage("life cycle"):
            output, memory = live_on(
                instances,
                memory,
                frame.pose,
                thresholds,
                self.bbox_coder,
                self.STReasoner.future_reasoning,
            )
            return output, replace(memory, head=seen.memory)

    forward_tracking = forward_track

    # --- steps of a frame -------------------------------------------------------------------------

    def extract_feats(self, img: Tensor) -> list[Tensor]:
        """Feature maps [B, V, D, h, w] of images [B, V, 3, H, W], finest first."""
        lead = img.shape[:-3]
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.train_backbone):
            stages = self.img_backbone(img.flatten(0, -4))
        return [level.unflatten(0, lead) for level in self.img_neck(stages)]

    def extract_clip_feats(self, batch: ClipBatch) -> list[Tensor]:
        """Feature maps [B, T, V, D, h, w] of all images of the clips, in one backbone call."""
        img = batch.img
        if self.grid_mask is not None and self.training:
            img = torch.stack([self.grid_mask(clip) for clip in img])
        return self.extract_feats(img)

    def with_detection_queries(self, tracks: TrackInstances | None) -> TrackInstances:
        """The instances of a frame: Q detection queries, then the tracks."""
        points = self.reference_points.weight
        embeds = self.embed_positions(points)
        content = self.query_feat_embedding
        queries = TrackInstances.empty(
            reference_points=points,
            query_embeds=embeds,
            query_feats=torch.zeros_like(embeds) if content is None else content.weight,
            num_classes=self.num_classes,
            hist_len=self.STReasoner.hist_len,
            fut_len=self.STReasoner.fut_len,
        )
        return queries if tracks is None else TrackInstances.cat([queries, tracks])

    def embed_positions(self, points: Tensor) -> Tensor:
        """Query embeds [N, D] of normalised positions [N, 3]."""
        features = pos2posemb3d(points, self.embed_dims // 2)
        return self.query_embedding(features)

    def detect(
        self,
        feats: list[Tensor],
        frame: FrameBatch,
        *instances: TrackInstances,
        absent: Tensor | None = None,
        past: Past | None = None,
    ) -> HeadOutput:
        """The head on B samples of N instances each.

        Args:
            feats: [B, V, D, h, w] for each level.
            absent: [B, N] bool, True = an empty slot; None: there is none.
            past: of a head that remembers; None: the sequence begins, or it does not.
        """
        states = [i.state for i in instances]
        given = {"absent": absent, "past": past}
        return self.pts_bbox_head(
            feats,
            frame,
            torch.stack([s.query_feats for s in states]),
            torch.stack([s.query_embeds for s in states]),
            torch.stack([s.reference_points for s in states]),
            **{name: value for name, value in given.items() if value is not None},
        )

    def remember(self, instances: TrackInstances, output: HeadOutput) -> TrackInstances:
        """Write the head's last layer into the cache."""
        logits = output.all_cls_scores[-1, 0].float()
        reference_points = output.reference_points[0].float()
        cache = Estimate(
            reference_points=reference_points,
            query_embeds=self.embed_positions(reference_points),
            query_feats=output.query_feats[0].float(),
            logits=logits,
            bboxes=output.all_bbox_preds[-1, 0].float(),
            scores=logits.sigmoid().amax(-1),
            motion_predictions=torch.zeros_like(instances.state.motion_predictions),
        )
        return instances.replace(cache=cache)

    def reason(
        self, instances: TrackInstances, record_threshold: float, absent: Tensor | None = None
    ) -> TrackInstances:
        """Tracking: past and future reasoning over the instances of a frame, summarised.

        Args:
            record_threshold: see :meth:`SpatialTemporalReasoner.summarize`.
            absent: [N] bool, True = an empty slot; None: there is none.
        """
        reasoner = self.STReasoner
        instances = reasoner.frame_shift(instances)
        if reasoner.history_reasoning:
            instances = reasoner.refine(instances, absent)
        if reasoner.future_reasoning:
            instances = reasoner.forecast(instances)
        return reasoner.summarize(instances, record_threshold)

    def move(
        self, tracks: TrackInstances, frame: FramePose, next_frame: FramePose
    ) -> TrackInstances:
        """Tracks of one frame as queries of the next."""
        l2g, next_l2g = frame.l2g[0], next_frame.l2g[0]
        to_next: Callable[[Tensor], Tensor]
        if self.training:  # as the original, which rounds coordinates of the world
            to_next = partial(change_lidar_frame, l2g=l2g, next_l2g=next_l2g)
        else:
            motion = lidar_motion(l2g.double(), next_l2g.double()).to(l2g.dtype)
            to_next = partial(transform_points, pose=motion)
        return self.move_by(tracks, next_frame.timestamp[0] - frame.timestamp[0], to_next)

    def move_by(
        self, tracks: TrackInstances, seconds: Tensor, to_next: Callable[[Tensor], Tensor]
    ) -> TrackInstances:
        """Tracks of one frame as queries of the next: objects' motion, then the ego's.

        Args:
            seconds: [] to the next frame.  to_next: points [n, 3] in the next lidar frame, m.
        """
        with full_precision(tracks.obj_idxes):
            if self.motion_prediction:
                if not (self.motion_prediction_ref_update and self.STReasoner.future_reasoning):
                    tracks = motion.move_by_velocity(tracks, seconds, self.pc_range)
                elif self.training:
                    tracks = motion.move_to_first_forecast(tracks)
                else:
                    tracks = motion.move_by_displacement(tracks, self.pc_range)
            if self.if_update_ego:
                tracks = motion.compensate_ego_motion(tracks, to_next, self.pc_range)
        embeds = self.embed_positions(tracks.state.reference_points)
        return tracks.replace(state=tracks.state.replace(query_embeds=embeds))
