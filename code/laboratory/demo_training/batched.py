"""A tracker's losses of many clips at once, for one GPU that a small network would leave idle.

The package's :meth:`Cam3DTracker.forward_train` goes through the samples of a batch one by one, as
the number of tracks differs. Here tracks are padded to the batch's largest number and masked, so
that a step of 64 clips launches as many kernels as one of a single clip. Same network, same losses,
same gradients (tests/laboratory/demo_training); DETR3D heads only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from laboratory.demo_training.losses import (
    detection_losses,
    matching_cost,
    place_loss,
    positives,
    set_losses,
    step_loss,
)
from pftrack.geometry import denormalize_points, normalize_points
from pftrack.models.box_coder import refine_code
from pftrack.structures import FrameBatch, upload

GHOST = -5  # id of a track that follows nothing


@dataclass
class Clips:
    """B clips of T frames, time first.

    Attributes:
        img: [T, B, V, 3, H, W] float, normalised.
        lidar2img: [T, B, V, 4, 4].  to_next: [T, B, 4, 4] pose of a lidar frame in the next one's.
        codes: [T, B, G, 10].  labels: [T, B, G] int64, -1 beyond the ground truth.
        steps: [T, B, G, F, 2].  observed: [T, B, G, F] bool.
        ids: [T, B, G] int64 on the host.
    """

    img: Tensor
    lidar2img: Tensor
    to_next: Tensor
    codes: Tensor
    labels: Tensor
    steps: Tensor
    observed: Tensor
    ids: np.ndarray


@dataclass
class Tracks:
    """What lives on, K slots a clip; the first ``counts[b]`` are taken.

    Attributes:
        points: [B, K, 3] normalised.  feats: [B, K, D].  history: [B, K, H, D].
        step: [B, K, 3] m, the displacement by which they go on where they are not seen.
        unseen: [B, K, H] bool True = empty.  ids: per clip [counts[b]] int64, on the host.
    """

    points: Tensor
    step: Tensor
    feats: Tensor
    history: Tensor
    unseen: Tensor
    ids: list[np.ndarray]


@dataclass(frozen=True)
class Hardships:
    """What tracking meets and the published training does not. The defaults are the latter.

    Attributes:
        erased: share of the tracks that are dropped between two frames: their objects have to be
            found again (Zeng et al., "MOTR", ECCV 2022).
        held: share of the tracks that go on by the next step of their forecast and with their
            features of before, as tracks with a low score do while tracking.
        ghosts: share of the three best unmatched detections of a clip's frame that the next frame
            has as tracks, to be told from objects (likewise MOTR's).
        forecast_weight: factor of the forecasts' loss.
        forecast_corrects: this loss is the distance between the objects' future places and those
            that the forecast leads to from where the tracker has them, classes of like weight: the
            first step makes good what is wrong with the present place.
        forecast_near: how much more its first steps count: step k of them 1 / (1 + this * k).
        forecast_reaches_features: its gradient goes beyond the forecaster, into this frame's
            features: they learn to tell motion.
        seed: of the draws.
    """

    erased: float = 0.0
    held: float = 0.0
    ghosts: float = 0.0
    forecast_weight: float = 1.0
    forecast_corrects: bool = False
    forecast_near: float = 0.0
    forecast_reaches_features: bool = False
    seed: int = 0


class BatchedLosses(nn.Module):
    """``model(batch)`` of a :class:`Cam3DTracker` for :class:`Clips`.

    Args:
        model: in training mode, on its device.
        autocast: of the backbone and the neck: a dtype, or None.
        hardships: None: the published training's losses.
    """

    def __init__(
        self,
        model: Any,
        autocast: torch.dtype | None = None,
        hardships: Hardships | None = None,
    ) -> None:
        super().__init__()
        self.model, self.autocast = model, autocast
        self.hardships = hardships or Hardships()
        self.random = np.random.default_rng(self.hardships.seed)
        self._absent: Tensor | None = None  # [B, N] instances that are padding
        layers = list(model.pts_bbox_head.transformer.decoder.layers)
        if model.STReasoner.history_reasoning:
            layers += list(model.STReasoner.spatial_transformer.decoder.layers)
        for layer in layers:
            for attention in layer.attentions:
                attention.register_forward_pre_hook(self._mask_padding, with_kwargs=True)

    def _mask_padding(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Padding is no key of an attention among instances."""
        if self._absent is None or not hasattr(module, "attn"):
            return None
        return args, {**kwargs, "key_padding_mask": self._absent}

    @contextmanager
    def _without(self, absent: Tensor | None) -> Iterator[None]:
        self._absent = absent
        try:
            yield
        finally:
            self._absent = None

    def forward(self, clips: Clips) -> dict[str, Tensor]:
        """Losses by name, averaged over the clips; ``f{t}.`` in front but for the last frame."""
        return self.of_features(self.features(clips), clips)

    def features(self, clips: Clips) -> list[Tensor]:
        """Per level [T, B, V, D, h, w] float."""
        device = clips.img.device.type
        with torch.autocast(device, self.autocast, enabled=self.autocast is not None):
            feats = self.model.extract_feats(clips.img.flatten(0, 1))
        return [level.float().unflatten(0, clips.img.shape[:2]) for level in feats]

    def of_features(self, feats: list[Tensor], clips: Clips) -> dict[str, Tensor]:
        """As :meth:`forward`, of what :meth:`features` returned."""
        model = self.model
        frames = len(clips.ids)
        tracks: Tracks | None = None
        losses: dict[str, Tensor] = {}
        for t in range(frames):
            if tracks is not None:
                points = denormalize_points(tracks.points, model.pc_range)
                pose = clips.to_next[t - 1][:, None]
                points = _rotated(points, pose) + pose[..., :3, 3]
                tracks.points = normalize_points(points, model.pc_range)
                tracks.step = _rotated(tracks.step, pose)
            tracks, now = self._frame([level[t] for level in feats], clips, t, tracks)
            prefix = "" if t == frames - 1 else f"f{t}."
            losses |= {prefix + name: value for name, value in now.items()}
            if tracks is not None:
                self.after_frame(tracks)
        return losses

    def after_frame(self, tracks: Tracks) -> None:
        """For subclasses: ``tracks``, in this frame, may be changed before the next."""

    # ------------------------------------------------------------------ one frame

    def _frame(
        self, feats: list[Tensor], clips: Clips, t: int, tracks: Tracks | None
    ) -> tuple[Tracks | None, dict[str, Tensor]]:
        model, reasoner = self.model, self.model.STReasoner
        codes, labels = clips.codes[t], clips.labels[t]
        batch = len(codes)
        points, embeds, query = self._queries(batch, tracks)
        queries = len(model.reference_points.weight)
        counts = np.array([len(ids) for ids in tracks.ids]) if tracks else np.zeros(batch, int)
        slots = points.shape[1] - queries
        present = _present(counts, queries, slots, points.device) if slots else None
        absent = None if present is None else ~present
        frame = FrameBatch(
            img=clips.img[t],
            img_shape=tuple(clips.img.shape[-2:]),  # type: ignore[arg-type]
            lidar2img=clips.lidar2img[t],
            l2g=clips.to_next[t],
            timestamp=clips.to_next[t, :, 0, 0],
        )
        with self._without(absent):
            out = model.pts_bbox_head(feats, frame, query, embeds, points)
        criterion = model.criterion
        cost = matching_cost(
            criterion,
            out.all_cls_scores[:, :, :queries],
            out.all_bbox_preds[:, :, :queries],
            codes,
            labels,
        )
        rows, carrying = self._match(cost, clips.ids[t], tracks, slots)
        gt_rows = _to(np.stack(rows, 1), points.device)  # [L, B, N]
        losses = detection_losses(
            criterion, out.all_cls_scores, out.all_bbox_preds, gt_rows, codes, labels, present
        )
        if not reasoner.history_reasoning:
            return None, losses

        history, unseen = self._histories(batch, queries, tracks, out.query_feats)
        n = points.shape[1]
        reference = out.reference_points.float()
        feats_now, history = self._refine(
            out.query_feats.float(), model.embed_positions(reference), history, unseen, absent
        )
        logits = reasoner.track_cls(feats_now).float()
        boxes, reference = refine_code(
            reasoner.track_reg(feats_now).float(), reference, reasoner.pc_range
        )
        last = gt_rows[-1:]
        cls, box = set_losses(
            criterion, logits[None], boxes[None], last, codes, labels, present, positives(last)
        )
        losses |= {"loss_mem_cls": cls.sum(), "loss_mem_bbox": box.sum()}

        # Instances that carry an id are forecast; of these, the ones whose object is there go on.
        ghosts = self._ghosts(out.all_cls_scores[-1, :, :queries], rows)
        chosen, valid = _padded_indices(
            [np.concatenate(pair) for pair in zip(carrying, ghosts, strict=True)]
        )
        chosen_rows = np.stack([r[-1][c] for r, c in zip(rows, chosen, strict=True)])
        chosen_rows[~valid] = -1
        survive, ids = [], []
        for b, row in enumerate(chosen_rows):
            alive = np.flatnonzero(row >= 0)
            alive = alive[self.random.random(len(alive)) >= self.hardships.erased]
            haunting = len(carrying[b]) + np.arange(len(ghosts[b]))
            survive.append(np.concatenate([alive, haunting]))
            ids.append(np.concatenate([clips.ids[t][b][row[alive]], np.full(len(haunting), GHOST)]))
        kept, _ = _padded_indices(survive)
        pick = _to(chosen + n * np.arange(batch)[:, None], points.device)
        history = history.flatten(0, 1)[pick]
        unseen = unseen.flatten(0, 1)[pick]
        steps = reasoner.future_reg(
            reasoner._attend_from_future(history.flatten(0, 1), unseen.flatten(0, 1))
        ).float()
        steps = steps.unflatten(0, (batch, -1))[..., :2]
        places = denormalize_points(reference.flatten(0, 1)[pick], reasoner.pc_range)
        losses["loss_for"] = self._forecast_loss(
            steps,
            places.detach()[..., :2],
            _to(chosen_rows, points.device),
            [len(c) for c in carrying],
            clips,
            t,
        )
        keep = _to(kept + chosen.shape[1] * np.arange(batch)[:, None], points.device)
        again = pick.flatten()[keep]
        here, content = places.flatten(0, 1)[keep], feats_now.flatten(0, 1)[again]
        coming = F.pad(steps.detach()[:, :, :2].flatten(0, 1)[keep], (0, 1))
        moved, onward = coming.unbind(2)
        if self.hardships.held and tracks is not None:
            place = np.take_along_axis(chosen, kept, 1)
            held = (place >= queries) & (self.random.random(place.shape) < self.hardships.held)
            mask = _to(held, points.device)[..., None]
            before = denormalize_points(points.flatten(0, 1)[again], reasoner.pc_range)
            last_step = F.pad(tracks.step, (0, 0, queries, 0)).flatten(0, 1)[again]
            here, moved = torch.where(mask, before, here), torch.where(mask, last_step, moved)
            onward = torch.where(mask, last_step, onward)
            content = torch.where(mask, query.flatten(0, 1)[again], content)
        return (
            Tracks(
                normalize_points(here + moved, reasoner.pc_range),
                onward,
                content,
                history.detach().flatten(0, 1)[keep],
                unseen.flatten(0, 1)[keep],
                ids,
            ),
            losses,
        )

    def _queries(self, batch: int, tracks: Tracks | None) -> tuple[Tensor, Tensor, Tensor]:
        """Points [B, N, 3], embeds and features [B, N, D]: detection queries, then tracks."""
        model = self.model
        points = model.reference_points.weight
        embeds = model.embed_positions(points)
        content = model.query_feat_embedding
        query = torch.zeros_like(embeds) if content is None else content.weight
        points, embeds, query = (x.expand(batch, -1, -1) for x in (points, embeds, query))
        if tracks is None:
            return points, embeds, query
        moved = model.embed_positions(tracks.points)
        return (
            torch.cat([points, tracks.points], 1),
            torch.cat([embeds, moved], 1),
            torch.cat([query, tracks.feats], 1),
        )

    def _histories(
        self, batch: int, queries: int, tracks: Tracks | None, now: Tensor
    ) -> tuple[Tensor, Tensor]:
        """History [B, N, H, D] with this frame's features at its end, and its mask."""
        length = self.model.STReasoner.hist_len
        before = now.new_zeros(batch, queries, length - 1, now.shape[-1])
        unseen = torch.ones(batch, queries, length - 1, dtype=torch.bool, device=now.device)
        if tracks is not None:
            before = torch.cat([before, tracks.history[:, :, 1:]], 1)
            unseen = torch.cat([unseen, tracks.unseen[:, :, 1:]], 1)
        unseen = F.pad(unseen, (0, 1), value=False)
        return torch.cat([before, now.float()[:, :, None]], 2), unseen

    def _refine(
        self, feats: Tensor, embeds: Tensor, history: Tensor, unseen: Tensor, absent: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Past reasoning: refined features [B, N, D]; the history that ends with them."""
        reasoner = self.model.STReasoner
        batch, n = feats.shape[:2]
        steps = reasoner._time_positions(reasoner.hist_len, feats.device)
        refined = reasoner.hist_temporal_transformer(
            feats.flatten(0, 1)[:, None],
            history.flatten(0, 1),
            query_pos=steps[-1].expand(batch * n, 1, -1),
            key_pos=steps.expand(batch * n, -1, -1),
            key_padding_mask=unseen.flatten(0, 1),
        )[-1][:, 0].unflatten(0, (batch, n))
        with self._without(absent):
            refined = reasoner.spatial_transformer(
                refined, refined, query_pos=embeds, key_pos=embeds
            )[-1].float()
        newest = refined if self.hardships.forecast_reaches_features else refined.detach()
        return refined, torch.cat([history[:, :, :-1], newest[:, :, None]], 2)

    # ------------------------------------------------------------------ matching

    def _match(
        self, cost: np.ndarray, ids: np.ndarray, tracks: Tracks | None, slots: int
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Per clip: ground-truth rows [L, N] (-1 none) and the positions that carry an id."""
        layers, _, queries, _ = cost.shape
        rows, carrying = [], []
        for b, truth in enumerate(ids):
            row = np.full((layers, queries + slots), -1, np.int64)
            untaken = truth >= 0
            carried = tracks.ids[b] if tracks is not None else np.zeros(0, np.int64)
            if len(carried):
                same = carried[:, None] == truth[None]
                found = np.where(same.any(1), same.argmax(1), -1)
                row[:, queries : queries + len(carried)] = found
                untaken[found[found >= 0]] = False
            columns = np.flatnonzero(untaken)
            if len(columns):
                for layer in range(layers):
                    chosen, column = linear_sum_assignment(cost[layer, b][:, columns])
                    row[layer, chosen] = columns[column]
            rows.append(row)
            born = np.flatnonzero(row[-1, :queries] >= 0)
            carry = np.concatenate([born, queries + np.flatnonzero(carried != GHOST)])
            carrying.append(carry if len(carry) else np.zeros(1, np.int64))
        return rows, carrying

    @torch.no_grad()
    def _ghosts(self, logits: Tensor, rows: list[np.ndarray]) -> list[np.ndarray]:
        """Per clip unmatched detection queries that go on as tracks; logits [B, Q, C]."""
        if not self.hardships.ghosts:
            return [np.zeros(0, np.int64)] * len(rows)
        queries = logits.shape[1]
        matched = _to(np.stack([row[-1, :queries] >= 0 for row in rows]), logits.device)
        scores = logits.amax(-1).masked_fill(matched, -torch.inf)
        best = scores.topk(3).indices.cpu().numpy()
        return [b[self.random.random(len(b)) < self.hardships.ghosts] for b in best]

    def _forecast_loss(
        self, steps: Tensor, places: Tensor, rows: Tensor, counts: list[int], clips: Clips, t: int
    ) -> Tensor:
        """``loss_for`` of predicted steps [B, M, F, 2] from places [B, M, 2] for ground-truth rows
        [B, M]; ``counts`` of each clip are instances that carry an id."""
        criterion = self.model.criterion
        future = steps.shape[2]
        index = rows.clamp(min=0)
        pick = index[..., None, None]
        true = clips.steps[t].gather(1, pick.expand(-1, -1, future, 2))
        seen = clips.observed[t].gather(1, pick[..., 0].expand(-1, -1, future))
        seen = seen & (rows >= 0)[..., None]
        weight = criterion.loss_prediction.loss_weight * self.hardships.forecast_weight
        if not self.hardships.forecast_corrects:
            carriers = _to(np.array(counts, np.float32), steps.device)
            return weight * step_loss(steps, true, seen, carriers)
        now = clips.codes[t, ..., :2].gather(1, index[..., None].expand(-1, -1, 2))
        labels = clips.labels[t].gather(1, index)
        return weight * place_loss(steps, true, seen, places - now, labels, self.model.num_classes)


def _rotated(vectors: Tensor, pose: Tensor) -> Tensor:
    """[B, K, 3] by poses [B, 1, 4, 4], without a product that TF32 could shorten."""
    return (vectors[..., None, :] * pose[..., :3, :3]).sum(-1)


def _present(counts: np.ndarray, queries: int, slots: int, device: torch.device) -> Tensor:
    """[B, N] bool: detection queries and taken slots."""
    taken = np.arange(slots)[None] < counts[:, None]
    return _to(np.concatenate([np.ones((len(counts), queries), bool), taken], 1), device)


def _padded_indices(lists: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Indices [B, M] filled up with 0, at least one column; which are real."""
    width = max(1, *(len(x) for x in lists))
    index = np.zeros((len(lists), width), np.int64)
    valid = np.arange(width)[None] < np.array([len(x) for x in lists])[:, None]
    index[valid] = np.concatenate(lists)
    return index, valid


def _to(array: np.ndarray, device: torch.device) -> Tensor:
    """A copy on ``device`` that the host does not wait for."""
    return upload(torch.from_numpy(np.ascontiguousarray(array)), device)
