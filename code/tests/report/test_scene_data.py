"""What the explorer shows is what the metrics counted."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from pftrack.evaluation.analysis import track_events
from pftrack.evaluation.run import Evaluation
from pftrack.report.scene_data import scene_data


@pytest.fixture(scope="module")
def scenes(evaluation: Evaluation) -> list[dict[str, Any]]:
    events = track_events(evaluation)
    names = evaluation.frames.scene_names
    return [
        scene_data(evaluation, i, [e for e in events if e.scene == name], evaluation)
        for i, name in enumerate(names)
    ]


def test_misses_false_boxes_and_switches_are_the_counted_ones(
    evaluation: Evaluation, scenes: list[dict[str, Any]]
) -> None:
    for name, result in evaluation.tracking.classes.items():
        if result.outcome is None:
            continue
        missed = sum(
            event[5]
            for scene in scenes
            for event in scene["events"]
            if event[0] == "miss" and scene["truth"][event[2]]["class"] == name
        )
        tracks = [t for scene in scenes for t in scene["tracks"] if t["class"] == name]
        false = sum(partner < 0 for track in tracks for partner in track["object"])
        assert missed == result.values["fn"] and false == result.values["fp"]
    kinds = Counter(event[0] for scene in scenes for event in scene["events"])
    assert kinds["switch"] == evaluation.tracking.overall["ids"]
    assert kinds["fragmentation"] == evaluation.tracking.overall["frag"]
    assert kinds["false track"] == sum(
        max(t["object"]) < 0 for scene in scenes for t in scene["tracks"]
    )


def test_pairs_are_mutual_and_as_far_apart_as_said(scenes: list[dict[str, Any]]) -> None:
    pairs = 0
    for scene in scenes:
        for number, track in enumerate(scene["tracks"]):
            for row, partner in enumerate(track["object"]):
                if partner < 0:
                    continue
                target = scene["truth"][partner]
                there = target["frames"].index(track["frames"][row])
                assert target["track"][there] == number and target["class"] == track["class"]
                apart = np.hypot(
                    target["x"][there] - track["x"][row], target["y"][there] - track["y"][row]
                )
                assert abs(apart - track["error"][row]) <= 2  # cm, rounded places
                pairs += 1
    assert pairs > 200


def test_places_shapes_and_scores_are_the_files(
    evaluation: Evaluation, scenes: list[dict[str, Any]]
) -> None:
    scene = scenes[1]
    rows = np.flatnonzero(evaluation.frames.scene == 1)
    assert scene["origin"] == evaluation.frames.ego[rows[0]].tolist()
    pred, pairs = evaluation.pred, 0
    for track in scene["tracks"]:
        assert track["size"] == [200, 450, 160] and set(track["yaw"]) == {0}
        for row, frame in enumerate(track["frames"]):
            here = np.flatnonzero(
                (pred.frame == rows[frame])
                & (np.array(pred.track_names)[pred.track] == track["id"])
                & ~pred.interpolated
            )
            if len(here) == 1 and not track["filled"][row]:
                place = np.array([track["x"][row], track["y"][row]]) / 100 + scene["origin"][:2]
                assert np.abs(place - pred.center[here[0], :2]).max() < 0.006
                assert abs(track["score"][row] / 1000 - pred.box_score[here[0]]) < 6e-4
                future = np.cumsum(pred.forecast[here[0]], axis=0).ravel() * 100
                assert np.abs(future - track["forecast"][row]).max() <= 0.51
                pairs += 1
    assert pairs > 100
    assert len({s for t in scene["tracks"] for s in t["score"]}) > 50


def test_other_results_are_a_layer_of_their_own(scenes: list[dict[str, Any]]) -> None:
    assert scenes[0]["before"] == scenes[0]["tracks"] and scenes[0]["tracks"]
    json.dumps(scenes, allow_nan=False)
