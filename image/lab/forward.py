"""The engine's HTTPS on this machine's loopback: listens in this machine's network, connects in the lab's.

The engine's address is the same on every node and its MAC is fixed, so the forward follows it without knowing where it runs.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from typing import Final

from appliance import layout
from appliance.errors import Refused
from image.lab.observe import NETNS_FOLDER
from image.lab.preflight import port_problem, refuse

CONNECT_TIMEOUT_S: Final = 5.0
"""Because the lab's network answers in under a millisecond; a SYN that waits longer is for an engine that is down."""
CHUNK_BYTES: Final = 64 * 1024
_CLONE_NEWNET: Final = 0x40000000


def listen(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1:``port`` in the network we are in; ``Refused`` (``lab.port-taken``)."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise refuse((port_problem(port, "another program"),)) from None
    listener.listen(128)
    return listener


def enter_namespace(name: str) -> None:
    """Move this process (one thread) into the network namespace ``name``. Its open sockets stay where they are."""
    path = NETNS_FOLDER / name
    with path.open("rb") as namespace:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(namespace.fileno(), _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise Refused(
                "lab.namespace",
                subject=str(path),
                reason=f"it cannot be entered: {os.strerror(number)}",
                remedy="Run it as root while the lab is up.",
            )


def serve(port: int, namespace: str, address: str) -> None:
    """Forward until killed."""
    listener = listen(port)
    enter_namespace(namespace)
    asyncio.run(_serve(listener, address))


async def _serve(listener: socket.socket, address: str) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            connecting = asyncio.open_connection(address, layout.ENGINE_PORT)
            far_reader, far_writer = await asyncio.wait_for(connecting, CONNECT_TIMEOUT_S)
        except (TimeoutError, OSError):
            writer.transport.abort()  # the client sees a closed connection: the engine does not answer now
            return
        _notice_silence(far_writer.get_extra_info("socket"))
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        except OSError:
            writer.transport.abort()
            far_writer.transport.abort()
        finally:
            writer.close()
            far_writer.close()

    server = await asyncio.start_server(client, sock=listener)
    await server.serve_forever()


def _notice_silence(far: socket.socket) -> None:
    """An engine whose node lost power says no goodbye: find out within about ten seconds."""
    far.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3)):
        far.setsockopt(socket.IPPROTO_TCP, option, value)
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way until that way ends, and say so at the other side."""
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
