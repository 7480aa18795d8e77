"""A training killed at any moment and resumed computes what an undisturbed one computes."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from child_process import in_child
from training_demo import demo_config, make_demo_trainer
from training_toy import logged, make_trainer

from pftrack.errors import UserError
from pftrack.training import checkpoint as ckpt
from pftrack.training.export import export_weights
from pftrack.training.loop import Trainer

pytestmark = pytest.mark.forks


@pytest.fixture(autouse=True)
def one_thread():
    """Children are forked: no thread pool may exist by then."""
    torch.set_num_threads(1)


def train(work_dir: Path, kill: Callable[[], None] | None = None) -> bool:
    """Auto-resume and run to the end; ``kill`` is called at every moment worth dying at."""
    trainer = make_trainer(work_dir)
    if kill is not None:
        forward, rename, save = trainer.model.forward, os.replace, torch.save

        def dying_forward(batch):
            kill()
            losses = forward(batch)
            kill()
            return losses

        def dying_rename(source, target):
            kill()
            rename(source, target)
            kill()

        def dying_save(content, file):
            file.write(b"PK half a checkpoint")
            file.flush()
            kill()
            file.seek(0)
            save(content, file)

        trainer.model.forward = dying_forward
        os.replace, torch.save = dying_rename, dying_save
    latest = ckpt.find_latest(work_dir)
    if latest is not None:
        trainer.resume(latest)
    return trainer.run()


def test_killed_and_resumed_losses_are_bit_identical(tmp_path):
    assert in_child(lambda: train(tmp_path / "whole")) == 0
    expected = logged(tmp_path / "whole")
    assert len(expected) == 8

    moments = random.Random(7)
    kills = 0
    while True:
        countdown = iter(range(moments.randint(3, 11)))

        def kill(countdown=countdown):
            if next(countdown, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        code = in_child(lambda kill=kill: train(tmp_path / "killed", kill))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        kills += 1
    assert kills >= 5

    # Steps after the last checkpoint were done again: every one of them must have had the same
    # value each time, and all of the undisturbed run's must be there.
    seen = logged(tmp_path / "killed")
    assert set(seen) == set(expected)
    whole, killed = (
        torch.load(tmp_path / run / "epoch_2.pth", weights_only=True) for run in ("whole", "killed")
    )
    for key, value in whole["state_dict"].items():
        assert torch.equal(value, killed["state_dict"][key]), key


def test_resume_inside_an_epoch_with_loader_workers(tmp_path):
    data = {"samples_per_gpu": 3, "workers_per_gpu": 2}
    make_trainer(tmp_path / "whole", data=data).run()
    first = make_trainer(tmp_path / "split", data=data, runner={"max_epochs": 2, "max_iters": 6})
    first.run()
    second = make_trainer(tmp_path / "split", data=data)
    second.resume(tmp_path / "split" / "iter_6.pth")
    assert (second.epoch, second.batch) == (1, 2)
    second.run()
    assert logged(tmp_path / "split") == logged(tmp_path / "whole")


def test_the_tracker_resumes_exactly(tmp_path, demo_data, demo_infos):
    """Past and future reasoning, augmentation and matching included."""
    cfg = demo_config(demo_data, demo_infos["train"])
    data = {"samples_per_gpu": 1, "workers_per_gpu": 1}

    def trainer(run: str, iterations: int) -> Trainer:
        runner = {"max_epochs": 2, "max_iters": iterations}
        return make_demo_trainer(tmp_path / run, cfg, data=data, runner=runner)

    trainer("whole", 3).run()
    trainer("split", 2).run()
    resumed = trainer("split", 3)
    resumed.resume(tmp_path / "split" / "iter_2.pth")
    resumed.run()
    assert len(logged(tmp_path / "whole")) == 3
    assert logged(tmp_path / "split") == logged(tmp_path / "whole")


def test_sigterm_saves_and_ends_and_resumes(tmp_path):
    make_trainer(tmp_path / "whole").run()
    trainer = make_trainer(tmp_path / "stopped")
    forward = trainer.model.forward

    def interrupted(batch):
        if trainer.iteration == 4:
            os.kill(os.getpid(), signal.SIGUSR1)
        return forward(batch)

    trainer.model.forward = interrupted
    before = signal.getsignal(signal.SIGUSR1)
    assert trainer.run() is False
    assert signal.getsignal(signal.SIGUSR1) is before
    latest = ckpt.find_latest(tmp_path / "stopped")
    assert latest.name == "iter_5.pth"
    resumed = make_trainer(tmp_path / "stopped")
    resumed.resume(latest)
    assert resumed.run() is True
    assert logged(tmp_path / "stopped") == logged(tmp_path / "whole")


def test_a_corrupt_newest_checkpoint_is_passed_over(tmp_path):
    make_trainer(tmp_path, checkpoint_config={"interval": 1}).run()
    newest, older = tmp_path / "epoch_2.pth", tmp_path / "epoch_1.pth"
    assert ckpt.find_latest(tmp_path) == newest
    content = newest.read_bytes()
    warnings: list[str] = []

    newest.write_bytes(content[: len(content) // 2])  # torn
    assert ckpt.find_latest(tmp_path, warnings.append) == older
    middle = len(content) // 2
    flipped = bytes([content[middle] ^ 0xFF])
    newest.write_bytes(content[:middle] + flipped + content[middle + 1 :])  # bit rot
    assert ckpt.find_latest(tmp_path, warnings.append) == older
    newest.write_bytes(b"")
    assert ckpt.find_latest(tmp_path, warnings.append) == older
    assert len(warnings) == 3 and all("epoch_2.pth is damaged" in line for line in warnings)


def test_a_training_goes_on_behind_a_torn_checkpoint(tmp_path):
    make_trainer(tmp_path / "whole").run()
    make_trainer(tmp_path / "torn", runner={"max_epochs": 2, "max_iters": 6}).run()
    newest = ckpt.find_latest(tmp_path / "torn")
    assert newest.name == "iter_6.pth"
    os.truncate(newest, newest.stat().st_size - 100)
    older = ckpt.find_latest(tmp_path / "torn")
    assert older.name == "epoch_1.pth"
    again = make_trainer(tmp_path / "torn")
    again.resume(older)
    again.run()
    assert logged(tmp_path / "torn")[6:] == logged(tmp_path / "whole")[4:]  # steps 5, 6 twice


def test_a_restart_passes_over_what_was_there_before(tmp_path):
    make_trainer(tmp_path, runner={"max_epochs": 2, "max_iters": 4}).run()
    older, newer = tmp_path / "epoch_1.pth", tmp_path / "iter_2.pth"
    os.utime(older, (1000, 1000))
    shutil.copyfile(older, newer)
    os.utime(newer, (2000, 2000))
    assert ckpt.find_latest(tmp_path, since=1500) == newer
    assert ckpt.find_latest(tmp_path, since=2500) is None


def test_only_the_last_k_epochs_and_current_snapshots_stay(tmp_path):
    settings = {"interval": 1, "by_epoch": False, "max_keep_ckpts": 2}
    trainer = make_trainer(
        tmp_path, checkpoint_config=settings, runner={"max_epochs": 5, "max_iters": 19}
    )
    trainer.run()
    names = {path.name for path in tmp_path.glob("*.pth")}
    assert names == {"epoch_3.pth", "epoch_4.pth", "iter_18.pth", "iter_19.pth", "latest.pth"}
    assert (tmp_path / "latest.pth").resolve().name == "iter_19.pth"


def test_no_space_left_is_one_line_and_earlier_checkpoints_stay(tmp_path, monkeypatch):
    make_trainer(tmp_path, runner={"max_epochs": 1}).run()
    trainer = make_trainer(tmp_path)

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot write checkpoint .*iter_2\.pth.*no space left"):
        trainer.run()
    assert {p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"} == set()
    assert ckpt.find_latest(tmp_path).name == "epoch_1.pth"


def test_checkpoint_of_another_model_is_refused(tmp_path):
    make_trainer(tmp_path / "a").run()
    other = torch.nn.Sequential(torch.nn.Linear(2, 2))
    other.img_backbone = torch.nn.Linear(2, 2)
    trainer = make_trainer(tmp_path / "b", model=other)
    with pytest.raises(UserError, match=r"cannot resume .*epoch_2\.pth.*another model"):
        trainer.resume(tmp_path / "a" / "epoch_2.pth")


def test_file_is_an_mmcv_checkpoint_of_plain_values(tmp_path):
    make_trainer(tmp_path).run()
    content = torch.load(tmp_path / "epoch_2.pth", weights_only=True)
    assert content["meta"]["epoch"] == 2 and content["meta"]["iter"] == 8
    assert set(content) == {"meta", "state_dict", "optimizer", "resume"}
    assert all(value.is_contiguous() for value in content["state_dict"].values())

    from mmcv.runner import load_checkpoint
    from training_toy import ToyModel

    model = ToyModel()
    load_checkpoint(model, str(tmp_path / "epoch_2.pth"), strict=True)
    for key, value in model.state_dict().items():
        assert torch.equal(value, content["state_dict"][key])


def test_export_keeps_weights_and_meta(tmp_path):
    make_trainer(tmp_path).run()
    size = export_weights(tmp_path / "epoch_2.pth", tmp_path / "out" / "model.pth")
    assert size < (tmp_path / "epoch_2.pth").stat().st_size
    whole, exported = (
        torch.load(path, weights_only=True)
        for path in (tmp_path / "epoch_2.pth", tmp_path / "out" / "model.pth")
    )
    assert exported.keys() == {"meta", "state_dict"} and exported["meta"] == whole["meta"]


def test_export_leaves_out_modules(tmp_path):
    make_trainer(tmp_path).run()
    source, out = tmp_path / "epoch_2.pth", tmp_path / "part.pth"
    whole = torch.load(source, weights_only=True)["state_dict"]
    module = next(iter(whole)).split(".")[0]
    export_weights(source, out, without=[module])
    part = torch.load(out, weights_only=True)["state_dict"]
    assert part.keys() == {key for key in whole if not key.startswith(f"{module}.")} < whole.keys()
    with pytest.raises(UserError, match=r"epoch_2\.pth: --without nothing: it has no weights"):
        export_weights(source, tmp_path / "none.pth", without=["nothing"])
    assert not (tmp_path / "none.pth").exists()


def test_best_checkpoint_and_evaluations_survive_a_restart(tmp_path):
    scores = iter([0.3, 0.5, 0.4])
    calls: list[int] = []

    def evaluate(checkpoint, world):
        calls.append(1)
        assert checkpoint.name == f"epoch_{len(calls)}.pth" and checkpoint.is_file()
        torch.rand(3)  # must not disturb the training's random numbers
        return {"amota": next(scores)}

    changes = {"evaluation": {"interval": 1}, "runner": {"max_epochs": 3}}
    make_trainer(tmp_path / "whole", **changes).run()
    first = make_trainer(
        tmp_path / "run",
        evaluate=evaluate,
        **{**changes, "runner": {"max_epochs": 3, "max_iters": 9}},
    )
    first.run()
    second = make_trainer(tmp_path / "run", evaluate=evaluate, **changes)
    second.resume(ckpt.find_latest(tmp_path / "run"))
    second.run()
    assert len(calls) == 3
    best = torch.load(tmp_path / "run" / "best_amota.pth", weights_only=True)
    assert best["meta"]["epoch"] == 2
    assert logged(tmp_path / "run") == logged(tmp_path / "whole")
