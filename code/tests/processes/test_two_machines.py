"""Two machines that train together: hosts of their own, whose names do not resolve."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import two_hosts
from slurm_cluster import until
from training_command import install
from training_toy import logged
from two_hosts import Host

NEVER = "1000"  # the toy's iteration to wait at


@pytest.fixture(scope="module")
def cable():
    reason = two_hosts.missing()
    if reason is not None:
        pytest.skip(f"two hosts: {reason}")
    with two_hosts.connected() as pair:
        yield pair


@pytest.fixture
def hosts(cable):
    """Idle ones: what a failing test leaves would keep the port from the next."""
    yield cable
    for host in cable:
        host.crash()


class Training:
    """The toy, started on several hosts with one work dir."""

    def __init__(self, folder: Path, first: str, stop_at: str) -> None:
        self.folder, self.stop_at = folder, stop_at
        self.env = install(folder, "dist_train.sh")
        self.env |= {"DEVICE": "cpu", "NNODES": "2", "MASTER_ADDR": first, "MASTER_PORT": "29400"}
        self.work = folder / "work"
        self.work.mkdir()

    def start(self, host: Host, rank: int, **variables: str) -> subprocess.Popen:
        command = ["bash", "tools/dist_train.sh", self.stop_at, "1", "--work-dir", str(self.work)]
        env = self.env | {"NODE_RANK": str(rank), **variables}
        return host.start(*command, log=self.folder / f"log{rank}", cwd=self.folder, env=env)

    def log(self, rank: int) -> str:
        return (self.folder / f"log{rank}").read_text()


@pytest.mark.slow
def test_two_hosts_learn_what_one_learns_and_one_may_crash(hosts, tmp_path: Path):
    """Over IPv6, with one process on each; the other host is killed, started again, and resumes."""
    first, second = hosts
    training = Training(tmp_path / "two", first.address6, stop_at="5")
    running = [training.start(host, rank) for rank, host in enumerate(hosts)]
    until((training.work / "reached").exists, f"{training.log(0)}\n{training.log(1)}")
    second.crash()
    assert running[1].wait(60) == -9
    (training.work / "go").write_bytes(b"!")
    running[1] = training.start(second, 1)
    assert [each.wait(240) for each in running] == [0, 0], training.log(0) + training.log(1)
    assert "from iteration 4" in training.log(0) and "from iteration 4" in training.log(1)

    alone = Training(tmp_path / "one", "", stop_at=NEVER)
    command = ["bash", "tools/dist_train.sh", NEVER, "2", "--work-dir", str(alone.work)]
    env = alone.env | {"NNODES": "1"}
    subprocess.run(command, cwd=alone.folder, env=env, check=True, capture_output=True)
    steps = logged(training.work)
    assert [step[1] for step in steps[:5]] == [1, 2, 3, 4, 5]  # 5 was after the checkpoint
    assert [*steps[:4], *steps[5:]] == logged(alone.work)
    assert len(logged(alone.work)) == 24


def test_a_machine_that_does_not_come_is_one_line_after_the_time_stated(hosts, tmp_path: Path):
    first, _ = hosts
    training = Training(tmp_path, first.address, NEVER)
    assert training.start(first, 0, JOIN_TIMEOUT="2").wait(120) == 2
    said, error = training.log(0).splitlines()[0], training.log(0).splitlines()[-1]
    place = f"MASTER_ADDR={first.address} MASTER_PORT=29400"
    assert said == f"2 machines meet at {place}, within 2 s (JOIN_TIMEOUT)"
    assert error == (
        f"error: not all of 2 machines came to {place} within 2 s: start the others, with the same "
        "NNODES; JOIN_TIMEOUT waits longer"
    )
    assert "Traceback" not in training.log(0)


def test_what_the_first_machine_cannot_use_is_one_line(hosts, tmp_path: Path):
    first, second = hosts
    training = Training(tmp_path, second.address, NEVER)  # somebody else's
    assert training.start(first, 0, JOIN_TIMEOUT="2").wait(180) == 2
    error = training.log(0).splitlines()[-1]
    assert error.startswith(f"error: machine 0 cannot listen at MASTER_ADDR={second.address} ")
    assert "Traceback" not in training.log(0)
