"""One frame of tracking as a function of tensors whose shapes never change.

The same network and the same rules as :meth:`Cam3DTracker.forward_track`, for whatever wants one
fixed graph: exporters, compilers, CUDA graphs. Tracks live in M slots with a mask of the live ones,
in the order that a list would have; nothing is decided on the host.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pftrack.errors import UserError
from pftrack.geometry import transform_points
from pftrack.models.box_coder import code_centers, denormalize_bbox
from pftrack.models.dense_heads.base import Past
from pftrack.models.trackers.life_cycle import NO_CANDIDATE, Thresholds, judge
from pftrack.models.trackers.track_instances import TrackInstances
from pftrack.models.trackers.tracker import Cam3DTracker
from pftrack.structures import FrameBatch, normalize_images

# What the next frame reads of a track: of its state, and of the rest.
STATE = ("reference_points", "query_feats", "logits", "bboxes", "scores", "motion_predictions")
REST = (
    *("hist_embeds", "hist_padding_masks", "hist_xyz", "fut_xyz", "fut_bboxes"),
    *("obj_idxes", "disappear_time", "track_query_mask"),
)
HEAD = "head_"  # before the names of what the head remembers


class StaticStep(nn.Module):
    """``step(frame, memory) -> (report, memory)`` with M slots for tracks; everything by name.

    A frame of V cameras:
        images: [V, H, W, 3] uint8 BGR.
        calibration: [V, 4, 4] float32: lidar points (m) to pixels, or its inverse, taken in
            float64: see :attr:`calibration`.
        ego_motion: [4, 4] float32, points (m) of the last lidar frame to this one's.
        seconds: [1] float32 since the last frame.
        new_sequence: [1] bool, True: nothing is remembered.

    The memory, to be handed from frame to frame as it is: :meth:`empty_memory`.

    A report of R rows, best score first, of which those with ``reported`` [R] bool count:
        boxes: [R, 9] legacy gravity-centre boxes, lidar frame.  scores: [R].
        labels, ids: [R] int64, ids within the sequence.
        rows: [R] int64 among the frame's instances (detection queries first, then slots).
        forecasting: [R, F, 2] displacement of each future step, m; only with future reasoning.
        dropped: [1] int64 live tracks that found no slot: those of the lowest scores.

    Args:
        model: in evaluation mode; never changed.
        img_shape: (h, w) of the images without padding.
        mean, std: [3] BGR.
        thresholds: None: the model's.
        slots: M.

    Raises:
        UserError: fewer slots than one.
    """

    def __init__(
        self,
        model: Cam3DTracker,
        img_shape: tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        thresholds: Thresholds | None = None,
        slots: int = 300,
    ) -> None:
        super().__init__()
        if slots < 1:
            raise UserError(f"{slots} slots for tracks: at least 1 is needed (the default is 300)")
        self.model = model
        self.img_shape = img_shape
        self.mean, self.std = tuple(mean), tuple(std)
        self.thresholds = thresholds or model.thresholds
        self.slots = slots

    @property
    def calibration(self) -> str:
        """``lidar2img`` or ``img2lidar``: which matrix the model's head reads."""
        return getattr(self.model.pts_bbox_head, "calibration", "lidar2img")

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.model.reference_points.weight.device

    def empty_memory(self, frame: dict[str, Tensor]) -> dict[str, Tensor]:
        """The memory with which a stream begins.

        Args:
            frame: any frame of the stream: what a head remembers depends on its images' size.
        """
        tracks = self._blank_tracks()
        live = torch.zeros(self.slots, dtype=torch.bool, device=self.device)
        next_id = torch.zeros(1, dtype=torch.long, device=self.device)
        head: dict[str, Tensor] | None = None
        if getattr(self.model.pts_bbox_head, "frames", 1) > 1:
            batch = self._batch({name: value.to(self.device) for name, value in frame.items()})
            with torch.no_grad():
                feats = self.model.extract_feats(batch.img)
                seen = self.model.detect(feats, batch, self.model.with_detection_queries(None))
            head = {name: torch.zeros_like(value) for name, value in (seen.memory or {}).items()}
        return _remember(tracks, live, next_id, head)

    def forward(
        self, frame: dict[str, Tensor], memory: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Track one more frame; see the class."""
        model = self.model
        tracks, live, next_id = self._enter(memory, frame["new_sequence"])
        batch = self._batch(frame)
        tracks = model.move_by(
            tracks, frame["seconds"][0], lambda p: transform_points(p, frame["ego_motion"])
        )
        instances = model.with_detection_queries(tracks)
        queries = len(instances) - self.slots
        none = torch.zeros(queries, dtype=torch.bool, device=live.device)
        absent = torch.cat([none, ~live])
        feats = model.extract_feats(batch.img)
        past = _past(memory, frame)
        output = model.detect(feats, batch, instances, absent=absent[None], past=past)
        instances = model.remember(instances, output)
        instances = model.reason(instances, self.thresholds.record_threshold, absent)
        return self._live_on(instances, ~absent, next_id, output.memory)

    # --- steps of a frame -------------------------------------------------------------------------

    def _enter(
        self, memory: dict[str, Tensor], new_sequence: Tensor
    ) -> tuple[TrackInstances, Tensor, Tensor]:
        """The tracks, the mask of the live ones and the next id with which a frame begins.

        Empty slots are zero: what is masked out of attention must be finite all the same.
        """
        live = memory["live"] & ~new_sequence

        def blanked(name: str) -> Tensor:
            value = memory[name]
            mask = live.view(-1, *[1] * (value.dim() - 1))
            return value & mask if value.dtype == torch.bool else value.masked_fill(~mask, 0)

        tracks = self._blank_tracks()
        tracks = tracks.replace(
            state=tracks.state.replace(**{name: blanked(name) for name in STATE}),
            **{name: blanked(name) for name in REST},
        )
        return tracks, live, memory["next_id"].masked_fill(new_sequence, 0)

    def _blank_tracks(self) -> TrackInstances:
        model = self.model
        points = model.reference_points.weight.new_zeros(self.slots, 3)
        feats = points.new_zeros(self.slots, model.embed_dims)
        return TrackInstances.empty(
            reference_points=points,
            query_embeds=feats,
            query_feats=feats,
            num_classes=model.num_classes,
            hist_len=model.STReasoner.hist_len,
            fut_len=model.STReasoner.fut_len,
        )

    def _batch(self, frame: dict[str, Tensor]) -> FrameBatch:
        """What the head sees; the lidar frame and the moment are those of the frame itself."""
        img = frame["images"].float().permute(0, 3, 1, 2)[None]
        matrices = frame["calibration"][None]
        inverse = self.calibration == "img2lidar"
        return FrameBatch(
            img=normalize_images(img, self.img_shape, self.mean, self.std),
            img_shape=self.img_shape,
            lidar2img=matrices,
            img2lidar=matrices if inverse else None,
            l2g=matrices[:, 0],
            timestamp=matrices[:, 0, 0, 0],
        )

    def _live_on(
        self,
        instances: TrackInstances,
        present: Tensor,
        next_id: Tensor,
        head: dict[str, Tensor] | None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Report, and put the tracks that live on into the slots."""
        state, thresholds, coder = instances.state, self.thresholds, self.model.bbox_coder
        labels = instances.labels
        verdict = judge(
            state.scores,
            labels,
            instances.obj_idxes,
            instances.disappear_time,
            instances.track_query_mask,
            instances.finite & present,
            next_id,
            thresholds,
        )
        candidates = torch.where(verdict.tracked, state.scores, NO_CANDIDATE)
        centers = code_centers(state.bboxes)
        rows, reported = coder.rank(centers, candidates, thresholds.output_threshold)
        kept, live = _slots(verdict.alive, state.scores, self.slots)
        report = {
            "boxes": denormalize_bbox(state.bboxes[rows]),
            "scores": state.scores[rows],
            "labels": labels[rows],
            "ids": verdict.ids[rows],
            "rows": rows,
            "reported": reported,
            "dropped": (verdict.alive.sum() - live.sum())[None],
        }
        if self.model.STReasoner.future_reasoning:
            report["forecasting"] = state.motion_predictions[rows][..., :2]
        tracks = instances.replace(
            obj_idxes=verdict.ids,
            disappear_time=verdict.age,
            track_query_mask=verdict.is_track,
        ).select(kept)
        return report, _remember(tracks, live, next_id + verdict.newborn.sum(), head)


def _slots(alive: Tensor, scores: Tensor, slots: int) -> tuple[Tensor, Tensor]:
    """The rows [M] that go into the slots, in their order, and the mask [M] of those that live.

    Args:
        alive: [N] bool.  scores: [N]; where more are alive than there are slots, the best stay.
    """
    best, rows = torch.where(alive, scores, NO_CANDIDATE).topk(slots)
    last = len(alive)
    rows = torch.where(best > NO_CANDIDATE, rows, last).sort().values
    live = rows < last
    return torch.where(live, rows, last - 1), live


def _past(memory: dict[str, Tensor], frame: dict[str, Tensor]) -> Past | None:
    """What the head remembers; None: it is not one that does."""
    head = {n.removeprefix(HEAD): v for n, v in memory.items() if n.startswith(HEAD)}
    return Past(head, frame["ego_motion"][None], frame["new_sequence"]) if head else None


def _remember(
    tracks: TrackInstances, live: Tensor, next_id: Tensor, head: dict[str, Tensor] | None
) -> dict[str, Tensor]:
    memory = {name: getattr(tracks.state, name) for name in STATE}
    memory |= {name: getattr(tracks, name) for name in REST}
    memory |= {HEAD + name: value for name, value in (head or {}).items()}
    return memory | {"live": live, "next_id": next_id}
