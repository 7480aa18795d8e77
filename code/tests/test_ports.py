"""Ports: free ones pass, others are named with the reason."""

from __future__ import annotations

import socket

import pytest

from pftrack.errors import UserError
from pftrack.ports import demand_free


def test_a_port_is_free_until_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for address in ("127.0.0.1", ""):
            with pytest.raises(
                UserError, match=r"^PORT=1: Address already in use on .*; --port 2$"
            ):
                demand_free(port, "PORT=1", "--port 2", address)
    demand_free(port, "PORT=1", "--port 2", "127.0.0.1")


def test_a_port_that_is_not_ours_to_take_has_another_reason() -> None:
    with pytest.raises(UserError, match="Cannot assign requested address"):
        demand_free(0, "PORT=0", "another", "192.0.2.1")  # of documentation, RFC 5737
