"""A Slurm of two nodes on this machine, under the user's own id: munged, slurmctld, two slurmd."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
NODES = ("node-a", "node-b")  # names that resolve nowhere

CONFIGURATION = """
ClusterName=pftrack
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
ReturnToService=2
NodeName={nodes} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]},{ports[2]} CPUs=2
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=120
PartitionName=high Nodes=ALL PriorityTier=2
"""


def missing() -> str | None:
    """Why there can be no Slurm here; None: there can."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{', '.join(absent)} not installed (Debian: slurm-wlm munge)" if absent else None


def until(condition: Callable[[], object], what: str, seconds: float = 240) -> None:
    """Wait until ``condition()`` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"after {seconds} s: {what}"
        time.sleep(0.1)  # between two looks


class Slurm:
    """Commands of a running cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {"SLURM_CONF": str(folder / "slurm.conf")}

    def call(self, *command: str, env: dict[str, str] | None = None, **options) -> str:
        """Output of a command, which must succeed."""
        env = {**(env or os.environ), **self.env}
        done = subprocess.run(command, env=env, capture_output=True, text=True, **options)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def field(self, job: str, name: str) -> str:
        """One of the values that ``scontrol show job`` prints."""
        words = self.call("scontrol", "show", "job", "-o", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)[name]

    def set(self, name: str, value: str) -> None:
        """Change the configuration of the running cluster; without a value: to Slurm's own."""
        file = self.folder / "slurm.conf"
        lines = [line for line in file.read_text().splitlines() if not line.startswith(f"{name}=")]
        lines += [f"{name}={value}"] if value else []
        file.write_text("\n".join(lines) + "\n")
        self.call("scontrol", "reconfigure")


@contextmanager
def running() -> Iterator[Slurm]:
    """Start the daemons; end them."""
    # Sockets take short paths.
    with tempfile.TemporaryDirectory(prefix="slurm_", dir="/tmp") as name:
        folder = Path(name)
        (folder / "state").mkdir()
        key = folder / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        values = {
            "host": socket.gethostname().partition(".")[0],
            "user": pwd.getpwuid(os.getuid()).pw_name,
            "ports": free_ports(3),
            "nodes": ",".join(NODES),
            "folder": folder,
        }
        (folder / "slurm.conf").write_text(CONFIGURATION.format(**values))
        slurm = Slurm(folder)
        files = [f"--{n}-file={folder / n}" for n in ("key", "seed", "log", "pid")]
        socket_file = folder / "munge.socket"
        munged = ["munged", "--foreground", "--force", *files, f"--socket={socket_file}"]
        daemons: list[subprocess.Popen] = []

        def start(*command: str) -> None:
            with (folder / "errors").open("a") as errors:
                daemons.append(
                    subprocess.Popen(
                        command, env=os.environ | slurm.env, stdout=errors, stderr=errors
                    )
                )

        try:
            start(*munged)
            until(socket_file.exists, "no munged", seconds=60)
            start("slurmctld", "-D")
            for node in NODES:
                start("slurmd", "-D", "-N", node)
            until(lambda: _idle(slurm) == len(NODES), "no Slurm that answers", seconds=60)
            yield slurm
        finally:
            for daemon in reversed(daemons):
                daemon.terminate()
                try:
                    daemon.wait(20)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()


def _idle(slurm: Slurm) -> int:
    done = subprocess.run(
        ["sinfo", "-h", "-N", "-p", "low", "-t", "idle"],
        env=os.environ | slurm.env,
        capture_output=True,
        text=True,
    )
    return len(done.stdout.splitlines())


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
