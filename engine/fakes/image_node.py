"""A node's image tickets over a folder: what is served where is files, so that it outlives the jobs process."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.codec import decode, encode
from appliance.errors import Conflict, NotFound
from appliance.model.image_ticket import ImageTicket, ImageTicketState
from appliance.tools.bitmaps import layers_with
from engine.fakes.disk_node import FakeDiskNode

CHANGING = threading.Lock()
"""Reading a ticket and writing it changed is one act, as on a real host: a test and a keeper do it at the same time."""


@dataclass(frozen=True)
class FakeTicket:
    """A ticket on a fake host. ``state`` is what a test says that clients did."""

    ticket: ImageTicket
    state: ImageTicketState
    extended_s: int = 0


@dataclass
class FakeImageNode:
    """The tickets of one host, in ``folder/tickets-<host>``. QEMU's locks hold between hosts, as the real ones do."""

    disks: FakeDiskNode

    def _place(self, transfer: str, host: str = "") -> Path:
        return self.disks.folder / f"tickets-{host or self.disks.name}" / f"{transfer}.json"

    def held(self, transfer: str) -> FakeTicket | None:
        """The ticket, if it is here."""
        place = self._place(transfer)
        return decode(FakeTicket, json.loads(place.read_text()), subject=transfer) if place.exists() else None

    def _need(self, transfer: str) -> FakeTicket:
        found = self.held(transfer)
        if found is None:
            reason = "nothing is served for it on this node"
            raise NotFound("image.ticket-unknown", subject=transfer, reason=reason, remedy="Resume the transfer.")
        return found

    def put(self, one: FakeTicket) -> None:
        """It is so from now on."""
        place = self._place(one.ticket.transfer)
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_suffix(".draft")
        draft.write_text(json.dumps(encode(one)))
        draft.rename(place)

    def said(self, transfer: str, **state: int | bool) -> None:
        """What its clients did: ``is_active``, ``idle_s``, ``transferred_bytes``; or ``is_served``: its daemon died."""
        with CHANGING:
            found = self._need(transfer)
            self.put(replace(found, state=replace(found.state, **state)))  # type: ignore[arg-type]

    def _fail(self, verb: str) -> None:
        self.disks.point(f"before {verb}")
        if verb in self.disks.fail_with:
            raise self.disks.fail_with[verb]

    # the node's verbs

    def image_tickets(self) -> tuple[ImageTicketState, ...]:
        names = sorted(path.stem for path in self._place("x").parent.glob("*.json"))
        return tuple(self._need(one).state for one in names)

    def image_ticket(self, transfer: str) -> ImageTicketState:
        return self._need(transfer).state

    def image_open(self, ticket: ImageTicket) -> ImageTicketState:
        self._fail("image-open")
        held = self.held(ticket.transfer)
        if held is not None and held.ticket != ticket:
            reason = "another ticket is open for it"
            raise Conflict("image.ticket-differs", subject=ticket.transfer, reason=reason, remedy="Close that one first.")
        if held is None or not held.state.is_served:
            size = self.disks.disk_chain(ticket.file)[0].virtual_bytes
            self._refuse_unserved(ticket)
            if ticket.writes:
                self.disks.refuse_in_use(ticket.file)
            self._refuse_second(ticket)
            if ticket.as_file:
                size = max(size, ticket.room_bytes)
            self.put(FakeTicket(ticket, ImageTicketState(ticket.transfer, size, is_served=True)))
        self.disks.point("after image-open")
        return self._need(ticket.transfer).state

    def _refuse_unserved(self, ticket: ImageTicket) -> None:
        """A backup is served by its VM's host; what was written since a checkpoint is told by who remembers it."""
        if ticket.backup:
            folder = self.disks.folder / "vms" / self.disks.name
            held = [json.loads(path.read_text()).get("backup") for path in folder.glob("[!.]*")]
            if ticket.backup not in held:
                reason = "no VM of this node serves its disks for it"
                raise NotFound("image.backup-unknown", subject=ticket.backup, reason=reason, remedy="Begin another.")
        elif ticket.since:
            layers_with(self.disks.disk_chain(ticket.file), ticket.since)

    def _refuse_second(self, ticket: ImageTicket) -> None:
        for place in self.disks.folder.glob("tickets-*/*.json"):
            other = decode(FakeTicket, json.loads(place.read_text()), subject=place.name)
            is_mine = place == self._place(ticket.transfer)
            in_the_way = other.ticket.file == ticket.file and (other.ticket.writes or ticket.writes)
            if in_the_way and not ticket.backup and other.state.is_served and not is_mine:
                reason = "a QEMU has it open"
                raise Conflict("disk.locked", subject=ticket.file.path, reason=reason, remedy="Look at the others.")

    def image_extend(self, transfer: str, timeout_s: int) -> ImageTicketState:
        self._fail("image-extend")
        with CHANGING:
            found = self._need(transfer)
            self.put(replace(found, extended_s=timeout_s))
        self.disks.point("after image-extend")
        return found.state

    def image_close(self, transfer: str) -> None:
        self._fail("image-close")
        self._place(transfer).unlink(missing_ok=True)
        self.disks.point("after image-close")
