"""Tickets of image transfers: a disk that a node serves over HTTPS to who knows the ticket's id."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.model.disk import DiskFile


@dataclass(frozen=True)
class ImageTicket:
    """A disk to be served. ``id`` is a secret: whoever knows it may transfer; ``transfer`` is not, and is what it is found
    by, one ticket each. ``as_file``: the bytes of the file (of a qcow2: as it lies there) and not what a guest sees.
    ``shallow``: without what is below. ``room_bytes``: how large a file that is written ``as_file`` may become.

    ``backup``: as the running VM's backup of that id serves it, under the name ``export``. ``since``: what was written since
    that checkpoint is told with it; of a backup, which knows it, any word."""

    id: str
    transfer: str
    file: DiskFile
    writes: bool
    as_file: bool = False
    shallow: bool = False
    room_bytes: int = 0
    timeout_s: int = 300
    inactivity_s: int = 60
    backup: str = ""
    export: str = ""
    since: str = ""


@dataclass(frozen=True)
class ImageTicketState:
    """A ticket as it is now. ``is_served`` False: its daemon or its qemu-nbd has ended, nothing can be transferred any more.
    ``idle_s``: since the last request ended; ``transferred_bytes`` counts each byte once."""

    transfer: str
    size_bytes: int
    is_served: bool
    is_active: bool = False
    idle_s: int = 0
    transferred_bytes: int = 0
