"""Addresses that machines announce, and what is said when they do not meet."""

from __future__ import annotations

import os
import socket
from argparse import Namespace
from pathlib import Path

import psutil
import pytest

from pftrack.errors import UserError
from pftrack.paths import CODE
from pftrack.training import distributed, rendezvous, run
from pftrack.training.rendezvous import announced_address, interface_of

LOOPBACK = next(
    name
    for name, entries in psutil.net_if_addrs().items()
    if any(entry.address == "127.0.0.1" for entry in entries)
)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """One second of patience; what is set there is forgotten."""
    monkeypatch.setenv("JOIN_TIMEOUT", "1")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "")
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    monkeypatch.delenv("LOCAL_ADDR", raising=False)


def options(endpoint: str, first: bool, nodes: str = "2") -> Namespace:
    conf = f"is_host={str(first).lower()}"
    return Namespace(nnodes=nodes, rdzv_endpoint=endpoint, rdzv_conf=conf, local_addr=None)


def test_one_machine_needs_none_of_it():
    args = options("", first=True, nodes="1")
    assert rendezvous.prepare(args) is None and args.local_addr is None


@pytest.mark.parametrize("nodes", ["1", "2"])
def test_a_port_of_another_program_is_one_line(nodes):
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            UserError, match=rf"MASTER_PORT={port} .*Address already in use on this"
        ):
            rendezvous.prepare(options(f"localhost:{port}", first=True, nodes=nodes))
    assert rendezvous.prepare(options(f"localhost:{port}", first=True, nodes="1")) is None


@pytest.mark.parametrize(
    ("family", "host", "address"),
    [(socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET6, "[::1]", "::1")],
)
def test_the_address_towards_the_first_machine_is_announced(capfd, family, host, address):
    with socket.create_server((address, 0), family=family) as server:
        port = server.getsockname()[1]
        args = options(f"{host}:{port}", first=False)
        point = rendezvous.prepare(args)
    assert args.local_addr == address
    assert args.rdzv_conf == "is_host=false,join_timeout=1,read_timeout=1"
    assert os.environ["GLOO_SOCKET_IFNAME"] == LOOPBACK
    assert str(point) == f"MASTER_ADDR={address} MASTER_PORT={port}"
    assert capfd.readouterr().err == f"2 machines meet at {point}, within 1 s (JOIN_TIMEOUT)\n"


def test_the_first_machine_does_not_announce_the_loopback(monkeypatch):
    """Its own name is often that of 127.0.1.1."""
    ways = {"127.0.1.1": "127.0.0.1", "198.51.100.1": "10.0.0.7"}
    monkeypatch.setattr(rendezvous, "_source", ways.get)
    assert announced_address("127.0.1.1", first=True) == "10.0.0.7"
    assert announced_address("127.0.1.1", first=False) == "127.0.0.1"  # all on one machine
    del ways["198.51.100.1"]
    assert announced_address("127.0.1.1", first=True) == "127.0.0.1"


def test_local_addr_overrides_and_must_be_this_machines(monkeypatch):
    args = options("127.0.0.1:1", first=True)
    monkeypatch.setenv("LOCAL_ADDR", "127.0.0.1")
    rendezvous.prepare(args)
    assert args.local_addr == "127.0.0.1"
    monkeypatch.setenv("LOCAL_ADDR", "198.51.100.9")
    with pytest.raises(UserError, match=r"LOCAL_ADDR=198\.51\.100\.9: no network interface"):
        rendezvous.prepare(args)
    monkeypatch.setenv("LOCAL_ADDR", "no.such.invalid")
    with pytest.raises(UserError, match=r"LOCAL_ADDR=no\.such\.invalid: "):
        rendezvous.prepare(args)
    assert interface_of("198.51.100.9") is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("endpoint", "reason"), [("127.0.0.1:1", "connection refused"), ("no.such.invalid:1", "name")]
)
def test_nobody_there_is_one_line(endpoint, reason):
    with pytest.raises(UserError, match=rf"did not answer in 1 s \(.*{reason}.*start machine 0"):
        rendezvous.prepare(options(endpoint, first=False))


@pytest.mark.slow
def test_processes_that_do_not_meet_are_one_line(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    group = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for name, value in group.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"process 1 did not meet the others at 127.0.0.1:{port}"):
        distributed.start("cpu")


def test_a_dry_run_joins_no_group(monkeypatch, tmp_path: Path):
    """In a pod WORLD_SIZE and RANK are of processes that nobody has started: it waited for them."""
    pod = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "198.51.100.9", "MASTER_PORT": "1"}
    for name, value in pod.items():
        monkeypatch.setenv(name, value)
    worlds = []
    monkeypatch.setattr(run, "_train", lambda *given: worlds.append(given[3]) or 0)
    config = CODE / "projects/configs/tracking/demo/f1_demo.py"
    request = run.Request(config, work_dir=tmp_path, device="cpu", dry_run=True)
    assert run.run_training(request) == 0
    assert [(world.rank, world.size) for world in worlds] == [(0, 1)]
