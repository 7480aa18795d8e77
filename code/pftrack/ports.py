"""Ports of this machine."""

from __future__ import annotations

import os
import socket

from pftrack.errors import UserError


def demand_free(port: int, what: str, instead: str, address: str = "") -> None:
    """Whether one may listen on a port now.

    Args:
        port: of TCP over IPv4.
        what: names the port, for the message.
        instead: what to do where it is not free, for the message.
        address: of this machine; "": all of them.

    Raises:
        UserError: somebody listens there, or it is not allowed.
    """
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((address, port))
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise UserError(f"{what}: {reason} on this machine; {instead}") from error
