"""Two hosts on this machine: network namespaces joined by a cable, with names of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Host:
    """A network namespace. ``address``, ``address6``: by which the other host reaches it."""

    namespace: str
    address: str
    address6: str

    def start(self, *command: str, log: Path, **options) -> subprocess.Popen:
        """A command on this host, under a host name that nobody resolves; its output in ``log``."""
        inside = ["unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', self.namespace]
        with log.open("w") as out:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *inside, *command],
                stdout=out,
                stderr=out,
                **options,
            )

    def crash(self) -> None:
        """Kill everything that runs on it."""
        found = _ip("netns", "pids", self.namespace).split()
        for pid in map(int, found):
            os.kill(pid, signal.SIGKILL)


def missing() -> str | None:
    """Why there can be no hosts here; None: there can."""
    absent = [name for name in ("ip", "unshare") if shutil.which(name) is None]
    if absent:
        return f"{', '.join(absent)} not installed"
    name = f"pf-try-{os.getpid()}"
    command = ["unshare", "--uts", "ip", "netns", "add", name]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return f"no right to network namespaces: {done.stderr.strip()}"
    _ip("netns", "delete", name)
    return None


@contextmanager
def connected() -> Iterator[tuple[Host, Host]]:
    """Make the hosts; remove them with all that runs there."""
    number = os.getpid()
    hosts = tuple(Host(f"pf{number}-{i}", f"10.99.0.{i}", f"fd99::{i}") for i in (1, 2))
    try:
        for host in hosts:
            _ip("netns", "add", host.namespace)
        cable = [f"pf{number}v{i}" for i in (1, 2)]
        _ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
        for host, end in zip(hosts, cable, strict=True):
            _ip("link", "set", end, "netns", host.namespace)
            inside = ("-n", host.namespace)
            _ip(*inside, "address", "add", f"{host.address}/24", "dev", end)
            _ip(*inside, "address", "add", f"{host.address6}/64", "dev", end, "nodad")
            _ip(*inside, "link", "set", end, "up")
            _ip(*inside, "link", "set", "lo", "up")
        yield hosts[0], hosts[1]
    finally:
        for host in hosts:
            if host.namespace in _ip("netns", "list"):
                host.crash()
                _ip("netns", "delete", host.namespace)


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout
