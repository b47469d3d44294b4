"""Disks served for image transfers: a qemu-nbd for each, in a unit of its own, behind ovirt-imageio and its tickets.

A ticket is recorded (below /run, so for this boot, as the daemon's and the units are) before anything is served, and the
record goes last: what a crash of the agent leaves half made is known, and closing it is the same as ever.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance import layout
from appliance.codec import decode, encode
from appliance.effects.files import PRIVATE, PUBLIC, make_folders, sync_folder, write_atomically, write_if_different
from appliance.effects.network import listens
from appliance.effects.root import Root
from appliance.errors import Conflict, Failed, NotFound, Refused, TrivetError, Unavailable
from appliance.model.disk import DiskFile
from appliance.model.image_ticket import ImageTicket, ImageTicketState
from appliance.ports import Clock, Processes, TicketDaemon
from appliance.tools import qemu_nbd
from appliance.tools.imageio_conf import ImageioSettings, imageio_conf, ticket_body
from appliance.uuids import UUID
from appliance.verbs.chains import Chains, of_words
from appliance.verbs.disk_bitmaps import overlay_with
from appliance.verbs.membership import NODE_CERTIFICATE, MembershipFiles
from appliance.verbs.volume_files import VolumeFiles

DAEMON_START_S = 30.0
"""The daemon listens after a second; an emulated node under load needs its time to import it."""
LOOK_EVERY_S = 0.1
UNIT_TIMEOUT_S = 40.0
"""Above the units' own limits (30 s to start, 30 s to stop): then systemd says why."""
ASK_TIMEOUT_S = 10.0
RENEWED_WAIT_S = 12 * 3600.0
"""How long a renewed certificate waits for a moment without transfers. Renewal is weeks before the end of the old one; what
is transferred then is paused, and resumed by who transfers it."""
CREDENTIALS = Path("/run/credentials") / qemu_nbd.DAEMON_UNIT
"""Where systemd puts the files that the unit loads."""
NOT_LOADED = 5
"""Exit status of ``systemctl stop`` when there is no such unit."""


@dataclass(frozen=True)
class _Record:
    ticket: ImageTicket
    size_bytes: int


class ImageTickets:
    """The tickets of one node. ``credentials`` is where the daemon finds the node's certificate, ``nbd`` where the sockets
    are."""

    def __init__(
        self,
        root: Root,
        processes: Processes,
        clock: Clock,
        chains: Chains,
        files: VolumeFiles,
        daemon: TicketDaemon,
        *,
        owner: int = layout.QEMU_UID,
        credentials: Path = CREDENTIALS,
        nbd: Path = layout.NBD_RUN,
        port: int = layout.IMAGEIO_PORT,
    ) -> None:
        self._root = root
        self._processes = processes
        self._clock = clock
        self._chains = chains
        self._files = files
        self._daemon = daemon
        self._owner = owner
        self._credentials = credentials
        self._nbd = nbd
        self._port = port
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    # asking

    def states(self) -> tuple[ImageTicketState, ...]:
        """All that were opened and not closed."""
        folder = self._root.at(layout.IMAGE_TICKETS)
        names = sorted(path.stem for path in folder.glob("[!.]*.json")) if folder.is_dir() else []
        return tuple(self._state(one) for one in map(self._record, names) if one is not None)

    def state(self, transfer: str) -> ImageTicketState:
        """One of them. Raises ``NotFound`` (``image.ticket-unknown``)."""
        return self._state(self._need(transfer))

    def _state(self, record: _Record) -> ImageTicketState:
        transfer = record.ticket.transfer
        try:
            held = self._daemon.get(record.ticket.id)
        except Unavailable:
            if self._is_active(qemu_nbd.DAEMON_UNIT):
                raise
            held = None  # its end has forgotten all tickets
        if held is None:
            return ImageTicketState(transfer, record.size_bytes, is_served=False)
        return ImageTicketState(
            transfer,
            record.size_bytes,
            self._is_there(record.ticket),
            bool(held.get("active")),
            int(held.get("idle_time") or 0),
            int(held.get("transferred") or 0),
        )

    def _is_there(self, ticket: ImageTicket) -> bool:
        """Whether what serves the disk runs: its qemu-nbd, or the QEMU of a backup."""
        if ticket.backup:
            return listens(self._backup_socket(ticket), ASK_TIMEOUT_S)
        return self._is_active(qemu_nbd.unit_name(ticket.transfer))

    def _backup_socket(self, ticket: ImageTicket) -> Path:
        return self._nbd / ticket.backup / "socket"

    def _is_active(self, unit: str) -> bool:
        argv = ("systemctl", "is-active", unit)
        return self._processes.run(argv, timeout_s=ASK_TIMEOUT_S, ok=None).stdout.strip() == "active"

    # opening and closing

    def open(self, ticket: ImageTicket) -> ImageTicketState:
        """Serve a disk. Raises ``Refused`` (``image.ticket-id``, ``disk.backing``), ``Conflict`` (``disk.locked``,
        ``disk.bitmap-lost``, ``image.ticket-differs``, ``image.ticket-busy``), ``NotFound`` (``file.unknown``,
        ``image.backup-unknown``), ``Failed`` (``disk.failed``)."""
        ids = (ticket.id, ticket.transfer, *((ticket.backup,) if ticket.backup else ()))
        if not all(UUID.fullmatch(one) for one in ids):
            raise Refused("image.ticket-id", subject="a ticket", reason="its ids are no UUIDs", remedy="Draw new ones.")
        with self._alone(ticket.transfer):
            held = self._record(ticket.transfer)
            if held is not None and held.ticket != ticket:
                reason = "another ticket is open for it"
                remedy = "Close that one first."
                raise Conflict("image.ticket-differs", subject=_named(ticket.transfer), reason=reason, remedy=remedy)
            if held is not None and (found := self._state(held)).is_served:
                return found
            self._end(ticket)  # what broken-off work left
            record = _Record(ticket, self._size(ticket))
            self._keep(record)
            try:
                self._serve(record)
            except TrivetError:
                self._close(ticket)
                raise
            return self._state(record)

    def extend(self, transfer: str, timeout_s: int) -> ImageTicketState:
        """Let it live so much longer. Raises ``NotFound`` (``image.ticket-unknown``)."""
        record = self._need(transfer)
        self._daemon.extend(record.ticket.id, timeout_s)
        return self._state(record)

    def close(self, transfer: str) -> None:
        """Serve it no more. Raises ``Conflict`` (``image.ticket-busy``)."""
        with self._alone(transfer):
            record = self._record(transfer)
            if record is not None:
                self._close(record.ticket)

    def _close(self, ticket: ImageTicket) -> None:
        self._end(ticket)
        self._place(ticket.transfer).unlink(missing_ok=True)

    def _end(self, ticket: ImageTicket) -> None:
        """First nobody may write any more, then what was written is written out."""
        try:
            self._daemon.delete(ticket.id)
        except Unavailable:
            if self._is_active(qemu_nbd.DAEMON_UNIT):
                raise
        if ticket.backup:
            return  # its QEMU goes on serving: others transfer other disks of it
        self._processes.run(qemu_nbd.stop_argv(ticket.transfer), timeout_s=UNIT_TIMEOUT_S, ok=(0, NOT_LOADED))
        self._overlay(ticket).unlink(missing_ok=True)

    def _overlay(self, ticket: ImageTicket) -> Path:
        """The empty layer over a disk that knows what was written since a checkpoint."""
        return self._nbd / f"since-{ticket.transfer}"

    def _size(self, ticket: ImageTicket) -> int:
        """What a client sees. All that is below it is looked at: no header may lead out of its domain."""
        if ticket.writes:
            self._chains.refuse_in_use(ticket.file)
        if not ticket.as_file:
            return self._chains.chain(ticket.file)[0].virtual_bytes
        return self._files.at(ticket.file.domain, ticket.file.path, lambda place: _file_size(place, ticket))

    def _serve(self, record: _Record) -> None:
        ticket = record.ticket
        self._start_daemon()
        if ticket.backup:
            self._daemon.put(ticket.id, ticket_body(ticket, record.size_bytes, self._need_backup(ticket)))
            return
        place = self._chains.require(ticket.file)
        if ticket.since:
            place = self._with_bitmap(ticket)
        folder = self._nbd / ticket.transfer
        socket = folder / "socket"
        argv = qemu_nbd.start_argv(ticket, place, f"{self._nbd.name}/{ticket.transfer}", socket)
        try:
            self._processes.run(argv, timeout_s=UNIT_TIMEOUT_S)
        except Failed as error:
            raise self._why(ticket.file, ticket.transfer, error) from error
        self._daemon.put(ticket.id, ticket_body(ticket, record.size_bytes, socket))

    def _need_backup(self, ticket: ImageTicket) -> Path:
        """Where the VM's QEMU serves it. Raises ``NotFound`` (``image.backup-unknown``)."""
        if not self._is_there(ticket):
            reason = "no VM of this node serves its disks for it"
            raise NotFound("image.backup-unknown", subject=f"backup {ticket.backup}", reason=reason, remedy="Begin another.")
        return self._backup_socket(ticket)

    def _with_bitmap(self, ticket: ImageTicket) -> Path:
        overlay = self._overlay(ticket)
        make_folders(overlay.parent, 0o755)
        chain = self._chains.chain(ticket.file)
        overlay_with(self._processes, self._chains, chain, ticket.since, overlay, self._owner)
        return overlay

    def _why(self, file: DiskFile, transfer: str, error: Failed) -> TrivetError:
        """systemd-run says only that it failed; the reason is in the journal."""
        said = self._processes.run(qemu_nbd.words_argv(transfer), timeout_s=ASK_TIMEOUT_S, ok=None).stdout.strip()
        return of_words(said or error.reason, file)

    def _start_daemon(self) -> None:
        """Let the daemon run with this node's address and certificate. Raises ``Unavailable`` (``imageio.unreachable``)."""
        cluster, membership = MembershipFiles(self._root).require()
        member = cluster.member(membership.name)
        settings = ImageioSettings(
            member.address if member else "127.0.0.1",
            self._port,
            self._credentials / "node.key",
            self._credentials / "node.pem",
            self._credentials / "ca.pem",
            self._root.at(layout.IMAGEIO_SOCKET),
        )
        conf = self._root.at(layout.IMAGEIO_CONF / "conf.d/50-trivet.conf")
        is_new = write_if_different(conf, imageio_conf(settings), PUBLIC)
        way = "restart" if is_new or self._wants_new_certificate() else "start"
        self._processes.run(("systemctl", way, qemu_nbd.DAEMON_UNIT), timeout_s=UNIT_TIMEOUT_S)
        end_s = self._clock.monotonic_s() + DAEMON_START_S
        while True:
            try:
                self._daemon.get("none")
                return
            except Unavailable:
                if self._clock.monotonic_s() > end_s:
                    raise
                self._clock.sleep(LOOK_EVERY_S)

    def _wants_new_certificate(self) -> bool:
        """Whether the daemon shows a certificate that has been renewed, and can be ended for it: nothing is transferred, or
        something always is. It reads its files once, and systemd gives it copies of the time of its start."""
        renewed, shown = self._root.at(NODE_CERTIFICATE), self._credentials / NODE_CERTIFICATE.name
        if not shown.exists() or shown.read_bytes() == renewed.read_bytes():
            return False
        waited_s = self._clock.wall_s() - renewed.stat().st_mtime
        return waited_s > RENEWED_WAIT_S or not any(one.is_served for one in self.states())

    # records

    def _place(self, transfer: str) -> Path:
        return self._root.at(layout.IMAGE_TICKETS / f"{transfer}.json")

    def _keep(self, record: _Record) -> None:
        place = self._place(record.ticket.transfer)
        make_folders(place.parent, 0o700)
        write_atomically(place, json.dumps(encode(record)), PRIVATE)

    def _record(self, transfer: str) -> _Record | None:
        if not UUID.fullmatch(transfer):
            return None
        place = self._place(transfer)
        try:
            text = place.read_text()
        except FileNotFoundError:
            return None
        return decode(_Record, json.loads(text), subject=str(place), ignore_unknown=True)

    def _need(self, transfer: str) -> _Record:
        found = self._record(transfer)
        if found is None:
            reason = "nothing is served for it on this node"
            raise NotFound("image.ticket-unknown", subject=_named(transfer), reason=reason, remedy="Resume the transfer.")
        return found

    @contextmanager
    def _alone(self, transfer: str) -> Iterator[None]:
        with self._lock:
            if transfer in self._busy:
                reason = "it is being opened or closed"
                raise Conflict("image.ticket-busy", subject=_named(transfer), reason=reason, remedy="Ask again.")
            self._busy.add(transfer)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(transfer)


def _named(transfer: str) -> str:
    return f"image transfer {transfer[:60]}"


def _file_size(place: Path, ticket: ImageTicket) -> int:
    """The file's length; one that is written is made as long as it may become: the holes that are left cost nothing."""
    size = place.stat().st_size
    if ticket.writes and size < ticket.room_bytes:
        os.truncate(place, ticket.room_bytes)
        sync_folder(place.parent)
        size = ticket.room_bytes
    return size
