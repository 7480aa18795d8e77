"""Matplotlib figures of the notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from pftrack.nuscenes.facts import CAMERAS, KEY_FRAME_SECONDS
from pftrack.visualization.attention import TrackAttention
from pftrack.visualization.rig import camera_names, label


def loss_bars(losses: Mapping[str, float]) -> Figure:
    """Loss terms of one step, largest first."""
    names = sorted(losses, key=lambda name: -losses[name])[:20]
    figure, axes = plt.subplots(figsize=(8, 0.25 * len(names) + 1))
    axes.barh(names[::-1], [losses[name] for name in names[::-1]], color="tab:blue")
    axes.set_xlabel("loss")
    axes.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    return figure


def module_bars(modules: Mapping[str, Mapping[str, float]]) -> Figure:
    """Size and root mean square of the weights of every module (``inspect_checkpoint``)."""
    names = list(modules)[::-1]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 0.35 * len(names) + 1.2), sharey=True)
    left.barh(names, [max(modules[n]["values"], 1) for n in names], color="tab:blue")
    left.set_xscale("log")
    left.set_xlabel("values")
    right.barh(names, [modules[n]["rms"] for n in names], color="tab:orange")
    right.set_xlabel("root mean square")
    for axes in (left, right):
        axes.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    return figure


def query_map(
    reference: np.ndarray, found: np.ndarray, scores: np.ndarray, radius: float = 55
) -> Figure:
    """Where queries start and where their boxes end, seen from above.

    Args:
        reference: [Q, 3] learned reference points, lidar frame, m.
        found: [Q, 3] centres of their boxes in one frame.  scores: [Q].
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5))
    height = left.scatter(*reference[:, :2].T, c=reference[:, 2], s=10, cmap="viridis")
    figure.colorbar(height, ax=left, label="z (m)")
    left.set_title("learned reference points")
    moves = np.stack([reference[:, :2], found[:, :2]], axis=1)
    for move, score in zip(moves, scores, strict=True):
        right.plot(*move.T, color="gray", lw=0.5, alpha=0.15 + 0.6 * float(score))
    order = np.argsort(scores)
    shown = right.scatter(*found[order, :2].T, c=scores[order], s=12, cmap="plasma", vmin=0)
    figure.colorbar(shown, ax=right, label="score")
    right.set_title("boxes of one frame, joined to their start")
    for axes in (left, right):
        axes.set(xlim=(-radius, radius), ylim=(-radius, radius), aspect="equal")
        axes.set(xlabel="x: right (m)", ylabel="y: forward (m)")
        axes.plot(0, 0, "k^")
        axes.grid(alpha=0.3)
    figure.tight_layout()
    return figure


def camera_shares(attention: Sequence[TrackAttention | None]) -> Figure:
    """Attention of one track over cameras (rows) and frames (columns); blank: not reported."""
    count = next((len(entry.cameras) for entry in attention if entry is not None), len(CAMERAS))
    shares = np.full((count, len(attention)), np.nan)
    for t, entry in enumerate(attention):
        if entry is not None:
            shares[:, t] = entry.cameras.numpy()
    figure, axes = plt.subplots(figsize=(max(6, 0.3 * len(attention) + 2), 2.6))
    image = axes.imshow(shares, aspect="auto", cmap="magma", vmin=0, vmax=1)
    axes.set_yticks(range(count), [label(name) for name in camera_names(count)])
    axes.set_xlabel("frame")
    figure.colorbar(image, ax=axes, label="share of attention")
    figure.tight_layout()
    return figure


def time_shares(attention: TrackAttention) -> Figure:
    """Attention of one track over its history: past reasoning, and every step of the forecast."""
    panels = [
        (p, t) for p, t in ((attention.past, "past"), (attention.future, "future")) if p is not None
    ]
    if not panels:
        raise ValueError("this model reasons about neither past nor future")
    figure, all_axes = plt.subplots(1, len(panels), figsize=(4.5 * len(panels), 3.2), squeeze=False)
    for axes, (weights, title) in zip(all_axes[0], panels, strict=True):
        table = np.atleast_2d(weights.numpy())
        image = axes.imshow(table, aspect="auto", cmap="magma", vmin=0, vmax=1)
        frames = [f"t-{k}" if k else "now" for k in range(table.shape[1] - 1, -1, -1)]
        axes.set_xticks(range(table.shape[1]), frames)
        ahead = [f"+{KEY_FRAME_SECONDS * (i + 1):.1f} s" for i in range(len(table))]
        axes.set_yticks(range(len(table)), ahead)
        if title == "past":
            axes.set_yticks([])
        axes.set_title(f"{title} reasoning")
        figure.colorbar(image, ax=axes)
    figure.tight_layout()
    return figure


def attention_overlay(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A camera image with its part of the attention map as a heat map.

    Args:
        image: BGR [h, w, 3].  weights: [h', w'] of this camera, any scale.
    """
    size = (image.shape[1], image.shape[0])
    heat = cv2.resize(weights.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    heat = np.clip(heat / max(float(heat.max()), 1e-9), 0, 1)
    colors = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)
    alpha = 0.25 + 0.55 * heat[..., None]
    return (image * (1 - alpha) + colors * alpha).astype(np.uint8)


def score_timelines(runs: Mapping[str, Sequence[Any]]) -> Figure:
    """Number of reported tracks over time, one line per run.

    Args:
        runs: name -> one :class:`Boxes` per frame.
    """
    figure, axes = plt.subplots(figsize=(8, 3))
    for name, frames in runs.items():
        axes.plot(np.arange(len(frames)) * KEY_FRAME_SECONDS, [len(b) for b in frames], label=name)
    axes.set(xlabel="time (s)", ylabel="tracks")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    return figure


def forecast_errors(errors: Mapping[str, np.ndarray]) -> Figure:
    """Mean displacement error by horizon, one line per method.

    Args:
        errors: name -> [n, F] distances in m, NaN where the truth ends.
    """
    figure, axes = plt.subplots(figsize=(6, 3))
    for name, table in errors.items():
        known = np.isfinite(table).any(axis=0)
        steps = np.arange(1, table.shape[1] + 1)[known] * KEY_FRAME_SECONDS
        axes.plot(steps, np.nanmean(table[:, known], axis=0), marker="o", label=name)
    axes.set(xlabel="horizon (s)", ylabel="mean error (m)")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    return figure
