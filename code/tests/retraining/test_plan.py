"""What logs say about a training, and the plan of a retraining."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from retraining_helpers import DEMO, log_line, write_log

from pftrack.errors import UserError
from pftrack.retraining.history import epoch_losses, read_runs, step_seconds
from pftrack.retraining.plan import Plan, Start, make_plan
from pftrack.retraining.record import Record, Stage, load_record
from pftrack.retraining.stage import STEP_TIME_FILE, Machine, checkpoint_bytes
from pftrack.training.logs import TrainLog
from pftrack.training.settings import OptimizerSettings

PETR = "projects/configs/tracking/petr"
EIGHT_GPUS = Machine(8, "auto")


def test_losses_of_an_epoch_are_means_over_its_steps_and_repeated_steps_count_once(tmp_path):
    """10 steps an epoch, a line every 4; killed after step 8 of epoch 2, resumed after its 5th."""
    first = [log_line(1, 4, 4, 10.0), log_line(1, 8, 4, 8.0), log_line(1, 10, 2, 4.0)]
    first += [
        log_line(2, 4, 4, 3.0),
        log_line(2, 8, 4, 99.0),
        {"mode": "val", "epoch": 1, "amota": 1},
    ]
    write_log(tmp_path, "20260101_000000", *first)
    write_log(tmp_path, "20260102_000000", log_line(2, 8, 3, 2.0), log_line(2, 10, 2, 1.0))
    with (tmp_path / "20260101_000000.log.json").open("a") as file:
        file.write('{"mode": "train", "ep')  # where the kill came
    losses = epoch_losses(read_runs(tmp_path))
    assert set(losses) == {1, 2} and set(losses[1]) == {"loss", "d0.loss_cls"}
    assert losses[1]["loss"] == pytest.approx((4 * 10 + 4 * 8 + 2 * 4) / 10)
    assert losses[2]["loss"] == pytest.approx((4 * 3 + 3 * 2 + 2 * 1) / 9)
    assert losses[2]["d0.loss_cls"] == pytest.approx(losses[2]["loss"] / 2)


def test_a_training_started_over_forgets_the_one_before(tmp_path):
    write_log(tmp_path, "1", log_line(1, 2, 2, 10.0), log_line(2, 2, 2, 5.0))
    write_log(tmp_path, "2", log_line(1, 2, 2, 8.0))
    assert epoch_losses(read_runs(tmp_path)) == {1: {"loss": 8.0, "d0.loss_cls": 4.0}}


def test_logs_are_written_with_the_number_of_steps_of_a_line(tmp_path):
    log = TrainLog(tmp_path, is_main=True, tensorboard=False)
    log.header({"device": "x"})
    for value in (1.0, 3.0):
        log.add({"loss": torch.tensor(value)}, 0.0, 0.5)
    log.write(2, 1, 2, 3, 1, 0.1)
    log.add({"loss": torch.tensor(8.0)}, 0.0, 0.5)
    log.write(3, 1, 3, 3, 0, 0.1)
    log.close()
    assert epoch_losses(read_runs(tmp_path)) == {1: {"loss": pytest.approx(4.0)}}


def test_step_time_is_the_median_of_runs_on_this_machine(tmp_path):
    times = [log_line(1, i + 1, 1, 1.0, seconds=s) for i, s in enumerate((30.0, 1.0, 2.0, 9.0))]
    write_log(tmp_path, "1", *times, device="CPU of ours, 2 threads", processes=1)
    write_log(
        tmp_path, "2", log_line(1, 1, 1, 1.0, 77.0), device="CPU of ours, 2 threads", processes=2
    )
    runs = read_runs(tmp_path)
    assert step_seconds(runs, "CPU of ours", 1) == 2.0
    assert step_seconds(runs, "CPU of ours", 2) == 77.0
    assert step_seconds(runs, "CPU of theirs", 1) is None


# ---------------------------------------------------------------- the plan


def demo_record() -> Record:
    return Record("a test", (Stage("f1", f"{DEMO}/f1_demo.py"), Stage("f3", f"{DEMO}/f3_demo.py")))


def plan_of(record: Record, root: Path, *overrides: str, machine: Machine = EIGHT_GPUS) -> Plan:
    return make_plan(record, list(record.stages), root, machine, overrides)


@pytest.fixture
def no_data(monkeypatch, tmp_path) -> None:
    """A working directory in which the configurations find no nuScenes."""
    monkeypatch.chdir(tmp_path)


def test_the_plan_of_the_published_trainings(no_data, tmp_path):
    plan = plan_of(load_record(), tmp_path / "run")
    small, full = plan.stages[1], plan.stages[3]
    assert (small.clips, small.iters_per_epoch, small.settings.max_epochs) == (28130, 3517, 12)
    assert small.total_iters == 42204 and full.total_iters == 24 * 3517
    assert small.step_time == (0.13, "estimate")
    assert small.hours == small.hours_to_go == pytest.approx(42204 * 0.13 / 3600)
    # Weights, and AdamW's two moments of what is trained; with a frozen backbone far fewer.
    assert small.checkpoint_bytes == pytest.approx(1.107e9, rel=0.01)
    assert full.checkpoint_bytes == pytest.approx(0.551e9, rel=0.01)
    text = plan.text()
    assert "28130, nuScenes' training key frames" in text and "~ estimate, not measured" in text
    assert "fcos3d_vovnet_imgbackbone-remapped.pth" in text
    assert text.count("not begun") == 4 and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_processes_batch_size_and_kept_checkpoints_change_the_plan(no_data, tmp_path):
    options = ("data.samples_per_gpu=2", "runner.max_epochs=5")
    kept = plan_of(load_record(), tmp_path, *options, "checkpoint_config.max_keep_ckpts=-1")
    stage = kept.stages[0]
    assert stage.iters_per_epoch == math.ceil(28130 / 16) and stage.step_time == (0.088, "estimate")
    assert stage.disk_bytes == 5 * stage.checkpoint_bytes
    three = plan_of(load_record(), tmp_path, *options, "checkpoint_config.max_keep_ckpts=3")
    assert three.stages[0].disk_bytes == 3 * stage.checkpoint_bytes
    assert three.stages[0].bytes_to_write == 6 * stage.checkpoint_bytes
    assert "a step is 16 clip(s) here and 8 in the record" in three.text()
    on_cpu = plan_of(load_record(), tmp_path, machine=Machine(0, "auto"))
    assert on_cpu.stages[0].iters_per_epoch == 28130
    assert on_cpu.stages[0].step_time is None  # a GPU's time says nothing about a CPU
    assert "step time of f1_800x320: unknown here" in on_cpu.text()


def test_clips_are_counted_where_the_info_file_is(demo_infos, tmp_path):
    machine = Machine(2, "cpu")
    ann_file = f"data.train.ann_file={demo_infos['train']}"
    plan = plan_of(demo_record(), tmp_path, ann_file, machine=machine)
    assert [stage.clips for stage in plan.stages] == [6, 6]
    assert [stage.iters_per_epoch for stage in plan.stages] == [1, 3]
    assert f"6, counted in {demo_infos['train']}" in plan.text()


def save_checkpoint(folder: Path, config: str, epoch: int, batch: int, of: int) -> Path:
    """A file that says how far its training was, ``batch`` of ``of`` iterations into an epoch."""
    folder.mkdir(parents=True, exist_ok=True)
    iteration = epoch * of + batch
    path = folder / (f"iter_{iteration}.pth" if batch else f"epoch_{epoch}.pth")
    content = {
        "meta": {"epoch": epoch, "iter": iteration, "record": {"config_file": config}},
        "resume": {"epoch": epoch, "batch": batch, "iters_per_epoch": of},
    }
    torch.save(content, path)
    return path


def test_a_half_finished_training_is_seen_and_timed_by_its_log(no_data, tmp_path):
    machine = Machine(0, "auto")
    save_checkpoint(tmp_path / "f1", f"{DEMO}/f1_demo.py", 3, 0, 10)
    save_checkpoint(tmp_path / "f1", f"{DEMO}/f1_demo.py", 4, 5, 10)
    write_log(tmp_path / "f1", "1", log_line(1, 4, 4, 1.0, 0.25), device=machine.name, processes=1)
    plan = plan_of(demo_record(), tmp_path, machine=machine)
    first, second = plan.stages
    assert first.status == "epoch 4.5 of 10" and second.status == "not begun"
    assert first.step_time == (0.25, "log")
    assert first.hours_to_go == pytest.approx(0.55 * first.total_iters * 0.25 / 3600)
    assert plan.start(second).text == "f1"
    assert f"step time of f1: measured on {machine.name}, 1 process(es)" in plan.text()

    last = save_checkpoint(tmp_path / "f1", f"{DEMO}/f1_demo.py", 10, 0, 10)
    plan = plan_of(demo_record(), tmp_path, machine=machine)
    assert plan.stages[0].status == "finished" and plan.stages[0].hours_to_go == 0
    assert plan.stages[0].bytes_to_write == 0
    assert plan.start(plan.stages[1]).load_from == str(last)


def test_a_measured_step_time_counts_for_the_same_machine_and_batch_only(no_data, tmp_path):
    machine = Machine(0, "auto")
    (tmp_path / "f1").mkdir()
    measured = {"seconds": 0.5, "device": machine.name, "processes": 1, "clips_per_step": 3}
    (tmp_path / "f1" / STEP_TIME_FILE).write_text(json.dumps(measured))
    assert plan_of(demo_record(), tmp_path, machine=machine).stages[0].step_time == (
        0.5,
        "measured",
    )
    two = plan_of(demo_record(), tmp_path, machine=Machine(2, "cpu"))
    larger = plan_of(demo_record(), tmp_path, "data.samples_per_gpu=4", machine=machine)
    assert two.stages[0].step_time is None and larger.stages[0].step_time is None


def test_a_folder_of_another_training_is_refused(no_data, tmp_path):
    save_checkpoint(tmp_path / "f1", f"{PETR}/f1_q500_800x320.py", 3, 0, 10)
    with pytest.raises(UserError, match="holds a training of petr/f1_q5_800x320, not of demo"):
        plan_of(demo_record(), tmp_path)


def test_where_a_stage_starts_from(no_data, tmp_path, monkeypatch):
    record = demo_record()

    def start_of_f3(*overrides: str) -> Start:
        plan = make_plan(record, [record.stages[1]], tmp_path, EIGHT_GPUS, overrides)
        return plan.start(plan.stages[0])

    # f1 is neither chosen nor finished: the shipped one; half of a training is not taken.
    save_checkpoint(tmp_path / "f1", f"{DEMO}/f1_demo.py", 4, 5, 10)
    assert start_of_f3().load_from.endswith("checkpoints/demo/f1_demo.pth")
    refused = start_of_f3("load_from=nowhere.pth")
    assert refused.problem is not None and "f1, which has not finished" in refused.problem
    backwards = Record("f3 before f1", record.stages[::-1])
    plan = plan_of(backwards, tmp_path, "load_from=nowhere.pth")
    assert "train it first" in str(plan.start(plan.stages[0]).problem)
    done = save_checkpoint(tmp_path / "f1", f"{DEMO}/f1_demo.py", 10, 0, 10)
    assert start_of_f3("load_from=nowhere.pth").load_from == str(done)
    # Step one: as configured, else random weights only when the configuration says so.
    plan = plan_of(record, tmp_path, "load_from=None")
    first = plan.start(plan.stages[0])
    assert (first.load_from, first.problem) == ("none", None)
    plan = plan_of(record, tmp_path, "load_from=nowhere.pth")
    assert "nowhere.pth, which is not there" in str(plan.start(plan.stages[0]).problem)


def test_checkpoint_size_counts_what_the_optimiser_keeps():
    model = {"type": "VoVNet", "spec_name": "V-19-slim-eSE", "out_features": ("stage4",)}
    from pftrack.registry import build_model

    built = build_model(model)
    weights = sum(v.nbytes for v in built.state_dict().values())
    trained = sum(p.nbytes for p in built.parameters() if p.requires_grad)
    kept = {"AdamW": ({}, 2), "SGD": ({}, 0)}
    for name, (kwargs, copies) in kept.items():
        size = checkpoint_bytes(model, OptimizerSettings(name, 0.1, 0.0, kwargs))
        assert size == weights + copies * trained
    momentum = OptimizerSettings("SGD", 0.1, 0.0, {"momentum": 0.9})
    assert checkpoint_bytes(model, momentum) == weights + trained
