"""Where the machines of one training meet: their addresses, how long they wait, what is said then.

torchrun announces the name that a machine has for itself, which the others need not know; they then
wait for half an hour. Here a machine announces the address from which it reaches the first one.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import time
from dataclasses import dataclass
from typing import Any

import psutil

from pftrack.errors import UserError
from pftrack.ports import demand_free

_ANYWHERE = ("198.51.100.1", "2001:db8::1")  # for documentation: in no network
_HOSTS_STORE = "is_host=true"  # how dist_train.sh marks the first machine
_BETWEEN_TRIES = 0.5  # s


@dataclass(frozen=True)
class MeetingPoint:
    """The first machine's address, as this machine was told it.

    Attributes:
        host, port: MASTER_ADDR and MASTER_PORT.
        machines: how many are expected.
        first: is it this machine?
        patience: seconds that the others may take to come (JOIN_TIMEOUT).
    """

    host: str
    port: int
    machines: int
    first: bool
    patience: int

    def __str__(self) -> str:
        return f"MASTER_ADDR={self.host} MASTER_PORT={self.port}"


def prepare(args: Any) -> MeetingPoint | None:
    """Complete torchrun's options for several machines, once the first of them can be reached.

    Args:
        args: torchrun's namespace, with a c10d ``rdzv_endpoint``; changed in place.

    Returns:
        where they meet; None for one machine.

    Raises:
        UserError: the port is another program's on the first machine, MASTER_ADDR has no address,
            or nobody answers there within JOIN_TIMEOUT.
    """
    from torch.distributed.elastic.rendezvous.utils import parse_rendezvous_endpoint

    host, port = parse_rendezvous_endpoint(args.rdzv_endpoint, 29500)
    if args.rdzv_endpoint and _HOSTS_STORE in args.rdzv_conf:
        demand_free(port, f"MASTER_PORT={port} (or PORT)", "choose another port")
    if args.nnodes in ("1", "1:1"):
        return None
    point = MeetingPoint(host, port, int(args.nnodes), _HOSTS_STORE in args.rdzv_conf, patience())
    print(
        f"{point.machines} machines meet at {point}, within {point.patience} s (JOIN_TIMEOUT)",
        file=sys.stderr,
    )
    master = _reach(point)
    told = os.environ.get("LOCAL_ADDR")
    args.local_addr = _own(told) if told else announced_address(master, point.first)
    args.rdzv_conf += f",join_timeout={point.patience},read_timeout={min(point.patience, 60)}"
    interface = interface_of(args.local_addr)
    if interface is not None:  # gloo looks its own name up, too
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    return point


def patience() -> int:
    """Seconds that machines, and then their processes, wait for each other: JOIN_TIMEOUT."""
    return int(os.environ.get("JOIN_TIMEOUT") or 600)


def _reach(point: MeetingPoint) -> str:
    """The first machine's IP address, once it answers (on itself: once its name is known)."""
    end = time.monotonic() + point.patience
    while True:
        try:
            family, kind, _, _, target = socket.getaddrinfo(
                point.host, point.port, type=socket.SOCK_STREAM
            )[0]
            if not point.first:
                with socket.socket(family, kind) as attempt:
                    attempt.settimeout(min(10, point.patience))
                    attempt.connect(target)
            return str(target[0])
        except OSError as error:
            problem = error
        if time.monotonic() >= end:
            break
        time.sleep(_BETWEEN_TRIES)
    reason = problem.strerror or str(problem)
    raise UserError(
        f"{point} did not answer in {point.patience} s ({reason.lower()}): start machine 0 "
        "(NODE_RANK=0), and give its address, as this machine knows it, to all"
    )


def _own(name: str) -> str:
    """LOCAL_ADDR as an IP address, which must be one of this machine's."""
    try:
        address = str(socket.getaddrinfo(name, None)[0][4][0])
    except OSError as error:
        raise UserError(f"LOCAL_ADDR={name}: {error.strerror or error}") from error
    if interface_of(address) is None:
        raise UserError(f"LOCAL_ADDR={name}: no network interface of this machine has this address")
    return address


def announced_address(master: str, first: bool) -> str:
    """The IP address by which the other machines find this one.

    Args:
        master: the first machine's IP address, as this machine knows it.
        first: is it this machine? Its own name is often the loopback's there, which nobody else can
            use.
    """
    address = _source(master) or master
    if first and ipaddress.ip_address(address).is_loopback:
        return next(filter(None, map(_source, _ANYWHERE)), address)
    return address


def _source(destination: str) -> str | None:
    """The address that packets to ``destination`` come from; None: there is no way to it."""
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:  # nothing is sent
        try:
            probe.connect((destination, 1))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def interface_of(address: str) -> str | None:
    """The network interface of this machine that has an IP address; None: no one."""
    for name, entries in psutil.net_if_addrs().items():
        if any(entry.address.partition("%")[0] == address for entry in entries):
            return name
    return None


def explain(error: Exception, point: MeetingPoint | None) -> tuple[str, int]:
    """What a failed rendezvous means for the user, in one line, and the exit status."""
    from torch.distributed.elastic.rendezvous.api import RendezvousTimeoutError

    if point is None:
        return f"the processes did not find each other: {error}", 1
    if isinstance(error, RendezvousTimeoutError):
        return (
            f"not all of {point.machines} machines came to {point} within {point.patience} s: "
            "start the others, with the same NNODES; JOIN_TIMEOUT waits longer"
        ), 2
    if point.first:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        return (
            f"machine 0 cannot listen at {point}: is it an address of this machine, and the port "
            f"free? ({reason})"
        ), 2
    return f"machine 0 at {point} is gone: start all machines again, the training resumes", 1
