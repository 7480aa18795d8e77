"""What autograd keeps of attention and of the image branch."""

from __future__ import annotations

from another_process import in_another_process

from laboratory.benchmarks.attention_memory import table


def test_attention_and_recomputed_blocks_keep_less_than_published() -> None:
    rows = in_another_process(table, 64, 160, 4)
    assert all(ratio > 1.5 for ratio in rows["attention's share, ratio"])
    stored, recomputed = (
        rows[f"backbone and neck, {name}"] for name in ("all stored", "blocks recomputed")
    )
    assert all(r < s / 5 for s, r in zip(stored, recomputed, strict=True))
