"""Run the cases in forked workers and print what became of them."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from laboratory.battery.cases import all_cases
from laboratory.battery.worker import KINDS, TIMEOUT, Case, Outcome, classify, kill, start
from laboratory.battery.world import build_world, preload

BAD_KINDS = KINDS[2:]


def run_battery(seed: int, scale: float, only: str, workers: int, verbose: bool) -> int:
    """Run everything. Returns 0 when every case ended in one line, else 1.

    Args:
        scale: part of the cases, 1 for all.  only: words in the format or the name of a case.
    """
    folder = Path(tempfile.mkdtemp(prefix="pftrack_battery_"))
    try:
        preload()
        world = build_world(folder / "world")
        cases = [c for c in all_cases(world, seed, scale) if only in f"{c.format}: {c.name}"]
        began = time.monotonic()
        outcomes = run_cases(cases, folder / "cases", workers)
        print(table(outcomes))
        for outcome in outcomes:
            if outcome.kind in BAD_KINDS:
                print(f"\n{outcome.kind}: {outcome.case.format}: {outcome.case.name}")
                print(f"    status {outcome.status}, {outcome.seconds:.1f} s")
                lines = outcome.text.strip().splitlines()
                print("\n".join(f"    {line[:300]}" for line in (lines if verbose else lines[-3:])))
            elif verbose:
                print(f"{outcome.case.format}: {outcome.case.name}: {outcome.text.strip()[-300:]}")
        print(f"\n{len(outcomes)} cases, seed {seed}, {time.monotonic() - began:.0f} s")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return int(any(outcome.kind in BAD_KINDS for outcome in outcomes))


def run_cases(cases: list[Case], folder: Path, workers: int) -> list[Outcome]:
    """Each case in a process and a folder of its own, ``workers`` side by side, in their order."""
    folder.mkdir(parents=True)
    outcomes: dict[int, Outcome] = {}
    running: dict[int, tuple[int, float]] = {}  # process -> number of the case, start
    todo = list(range(len(cases)))
    while todo or running:
        while todo and len(running) < workers:
            number = todo.pop(0)
            place = folder / str(number)
            (place / "out").mkdir(parents=True)
            running[start(cases[number], place)] = number, time.monotonic()
        pid, status = os.waitpid(-1, os.WNOHANG)
        hung = False
        if pid == 0:
            now = time.monotonic()
            late = [p for p, (_n, begun) in running.items() if now - begun > TIMEOUT]
            if not late:
                time.sleep(0.005)
                continue
            kill(late[0])
            pid, status = os.waitpid(late[0], 0)
            hung = True
        if pid not in running:
            continue
        number, begun = running.pop(pid)
        place = folder / str(number)
        code = os.waitstatus_to_exitcode(status)
        outcomes[number] = classify(cases[number], place, code, time.monotonic() - begun, hung)
        shutil.rmtree(place, ignore_errors=True)
    return [outcomes[number] for number in range(len(cases))]


def table(outcomes: list[Outcome]) -> str:
    """One row for each format, one column for each kind."""
    formats = list(dict.fromkeys(outcome.case.format for outcome in outcomes))
    counts = Counter((outcome.case.format, outcome.kind) for outcome in outcomes)
    rows = [["format", *KINDS]]
    rows += [[name, *(str(counts[name, kind] or "-") for kind in KINDS)] for name in formats]
    totals = Counter(outcome.kind for outcome in outcomes)
    rows.append(["all", *(str(totals[kind]) for kind in KINDS)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(w) if i else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
