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


def training_curves(runs: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Total loss, learning rate, gradient norm, time and memory over the steps of trainings.

    Args:
        runs: name -> columns ``step``, ``loss``, ``lr``, ``grad_norm``, ``time``, ``data_time``
            (s per step), ``memory`` (MiB).
    """
    panels = {
        "loss": "loss",
        "lr": "learning rate",
        "grad_norm": "gradient norm, before clipping",
        "time": "seconds a step; dotted: waiting for data",
        "memory": "peak memory, MiB",
    }
    figure, axes = plt.subplots(1, len(panels), figsize=(3.2 * len(panels), 3))
    for place, (column, title) in zip(axes, panels.items(), strict=True):
        for number, (name, table) in enumerate(runs.items()):
            if column in table:
                place.plot(table["step"], table[column], f"C{number}", label=name, marker=".")
            if column == "time" and "data_time" in table:
                place.plot(table["step"], table["data_time"], f"C{number}", ls=":")
        place.set_ylim(bottom=0)
        place.set_title(title, fontsize=10)
        place.set_xlabel("step")
        place.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    return figure


def loss_terms(table: Mapping[str, Sequence[float]]) -> Figure:
    """Every loss of a training over its steps; a panel for each kind, summed over clip and layers.

    Args:
        table: column ``step`` and the losses by name (``f0.d1.loss_cls``: frame, decoder layer).
    """
    kinds: dict[str, np.ndarray] = {}
    for name, values in table.items():
        kind = name.rsplit(".", 1)[-1]
        if "loss" in name and name != "loss":
            kinds[kind] = kinds.get(kind, 0) + np.asarray(values, float)
    figure, axes = plt.subplots(1, len(kinds), figsize=(3.2 * len(kinds), 2.6), squeeze=False)
    for place, (kind, sums) in zip(axes[0], kinds.items(), strict=True):
        place.plot(table["step"], sums, marker=".")
        place.set_title(kind, fontsize=10)
        place.set_xlabel("step")
        place.set_ylim(bottom=0)
        place.grid(alpha=0.3)
    figure.tight_layout()
    return figure


def evaluations(runs: Mapping[str, Mapping[int, Mapping[str, float]]]) -> Figure:
    """Tracking metrics over the epochs of trainings.

    Args:
        runs: name -> epoch -> metric -> value.
    """
    metrics = ("amota", "amotp", "recall", "ids")
    figure, axes = plt.subplots(1, len(metrics), figsize=(3.2 * len(metrics), 2.6))
    for place, metric in zip(axes, metrics, strict=True):
        for name, history in runs.items():
            epochs = sorted(epoch for epoch in history if metric in history[epoch])
            place.plot(epochs, [history[e][metric] for e in epochs], marker="o", label=name)
        place.set_title(metric.upper(), fontsize=10)
        place.set_xlabel("epoch")
        place.xaxis.get_major_locator().set_params(integer=True)
        place.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    return figure
