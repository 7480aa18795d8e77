"""What happens when a loss is not a finite number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pftrack.errors import UserError
from pftrack.structures import ClipBatch
from pftrack.training.checkpoint import save_atomically
from pftrack.training.settings import NanGuardSettings


@dataclass
class NanGuard:
    """Names a non-finite loss, saves what reproduces it, skips the step or stops.

    Args:
        folder: where the repro files go (at most ``max_skips`` of them a run).
    """

    settings: NanGuardSettings
    folder: Path
    rank: int = 0
    skipped_in_row: int = 0

    def finite_step(self) -> None:
        """Tell that an iteration went well."""
        self.skipped_in_row = 0

    def handle(
        self,
        losses: dict[str, torch.Tensor],
        batch: ClipBatch,
        iteration: int,
        state: dict[str, Any],
    ) -> str:
        """Deal with an iteration in which some process had a non-finite loss.

        Args:
            losses, batch: of this process, which may be a healthy one.
            state: plain values and tensors that reproduce the step (weights, random states).

        Returns:
            One line for the log.

        Raises:
            UserError: the settings say stop, or too many steps in a row were skipped.
        """
        self.skipped_in_row += 1
        culprits = [
            describe(name, batch) for name, value in losses.items() if not value.isfinite().all()
        ]
        what = "; ".join(culprits) if culprits else "on another process"
        line = f"non-finite loss at iteration {iteration}: {what}"
        if culprits:
            repro = self.folder / f"nonfinite_iter_{iteration}_rank_{self.rank}.pth"
            save_atomically({**state, "batch": plain_batch(batch), "losses": dict(losses)}, repro)
            line += f"; saved {repro}"
        if self.settings.action == "stop":
            raise UserError(
                f"{line}; training stopped (nan_guard.action=skip leaves such steps out)"
            )
        if self.skipped_in_row > self.settings.max_skips:
            raise UserError(
                f"{line}; {self.skipped_in_row} steps in a row were not finite: stopped"
            )
        return f"{line}; step skipped"


def describe(name: str, batch: ClipBatch) -> str:
    """A loss term with its frame of the clip and that frame's sample tokens."""
    match = re.match(r"f(\d+)\.", name)
    frame = int(match.group(1)) if match else batch.num_frames - 1
    tokens = [clip[frame] for clip in batch.sample_tokens] if batch.sample_tokens else ["unknown"]
    return f"'{name}' in frame {frame} of the clip, sample {', '.join(tokens)}"


def plain_batch(batch: ClipBatch) -> dict[str, Any]:
    """A batch as tensors and plain values (for a file that ``weights_only=True`` reads)."""
    values = dict(vars(batch))
    values["targets"] = [[dict(vars(frame)) for frame in clip] for clip in batch.targets]
    return values
