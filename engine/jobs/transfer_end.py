"""End the transfer of a disk's image: well, with what was uploaded looked at first; or cancelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from appliance.codec import decode
from appliance.errors import TrivetError, Unavailable
from appliance.model.disk import DiskFile, DiskInfo
from engine.decide.transfer import Act
from engine.jobs.disk_remove import attached_to, remove_image
from engine.jobs.job import JobType, Planned, Step, Work
from engine.jobs.layers import forget_disk
from engine.jobs.places import choose_host, chosen_host
from engine.jobs.transfers import BELOW, DISK, KIND, close, end, named, need_phase, say, set_phase, ticket_of, transfer_locks
from engine.store.entities import Entities, Entity
from engine.store.jobs import Lock


@dataclass(frozen=True)
class FinalizeTransfer:
    """Which one."""

    transfer_id: str


@dataclass(frozen=True)
class CancelTransfer:
    """Which one. ``reason``: the system does it, and why."""

    transfer_id: str
    reason: str = ""


E = TypeVar("E", FinalizeTransfer, CancelTransfer)


def _transfer(work: Work) -> Entity:
    return work.entities.need(KIND, work.parameters(FinalizeTransfer).transfer_id)


def _close(work: Work) -> None:
    close(work, work.parameters(FinalizeTransfer).transfer_id)


def _verify(work: Work) -> Mapping[str, Any]:
    """What was uploaded, looked at by a host. Bad is an answer: what cannot be asked is asked again."""
    transfer = _transfer(work)
    disk = work.entities.need("disk", str(transfer.body[DISK]))
    with work.on(chosen_host(work)) as node:
        try:
            found = node.disk_chain(ticket_of(work.entities, transfer).file)[0]
        except Unavailable:
            raise
        except TrivetError as error:
            return {"bad": error.reason}
    told = transfer.body.get(BELOW)
    lay_over = decode(DiskFile, told, subject="what lay below") if told else None
    bad = what_is_bad(found, lay_over, int(disk.body["provisioned_size"]))
    return {"bad": bad, "actual_bytes": found.actual_bytes, "virtual_bytes": found.virtual_bytes}


def what_is_bad(found: DiskInfo, lay_over: DiskFile | None, size_bytes: int) -> str:
    """Why an uploaded image cannot be the disk's; empty: it can."""
    if found.backing != lay_over:
        named_below = found.backing.path if found.backing else "nothing"
        return f"it lies over {named_below}, which it did not before"
    if found.virtual_bytes > size_bytes:
        return f"its guest would see {found.virtual_bytes} bytes, the disk has {size_bytes}"
    if found.corrupt:
        return "it is marked corrupt"
    return ""


class _EndJob(JobType[E]):
    """What both ends have in common: the ticket is closed; after an upload a host does ``last`` to the image."""

    action: ClassVar[Act]
    doing: ClassVar[str]
    last: ClassVar[Planned]

    def describe(self, entities: Entities, given: E) -> str:
        return f"{self.doing} {named(entities, entities.need(KIND, given.transfer_id))}"

    def check(self, entities: Entities, given: E) -> None:
        need_phase(entities, given.transfer_id, self.action)

    def locks(self, entities: Entities, given: E) -> Sequence[Lock]:
        return transfer_locks(entities, given.transfer_id)

    def plan(self, entities: Entities, given: E) -> Sequence[Planned]:
        closing = Planned("close", "Closing its ticket")
        if entities.need(KIND, given.transfer_id).body["direction"] == "download":
            return (closing,)
        return closing, Planned("choose-host", "Choosing a host"), self.last


class TransferFinalize(_EndJob[FinalizeTransfer]):
    """The disk is ``ok`` again; after an upload that cannot be its image, ``illegal``."""

    name = "image_transfer.finalize"
    parameters = FinalizeTransfer
    action: ClassVar[Act] = "finalize"
    doing = "Finalizing"
    last = Planned("verify", "Looking at what was uploaded")
    steps = (
        Step("close", _close, is_final=True),
        Step("choose-host", choose_host, weight=0.1, is_final=True),
        Step("verify", _verify, is_final=True),
    )

    def prepare(self, entities: Entities, given: FinalizeTransfer) -> None:
        set_phase(entities, given.transfer_id, "finalizing_success")

    def finish(self, work: Work) -> Mapping[str, Any]:
        transfer, found = _transfer(work), work.found("verify")
        if found.get("bad"):
            self._fail(work, str(found["bad"]))
            return {}
        if found:
            sizes = {"actual_size": int(found["actual_bytes"]), "provisioned_size": int(found["virtual_bytes"])}
            disk_id = str(transfer.body[DISK])
            work.entities.change("disk", disk_id, lambda disk: replace(disk.with_body(**sizes), status="ok"))
        say(work, "TRANSFER_IMAGE_SUCCEEDED", transfer)
        end(work, transfer.id, "finished_success", "finished")
        return {}

    @staticmethod
    def _fail(work: Work, reason: str) -> None:
        transfer = _transfer(work)
        if transfer.body["direction"] == "upload":
            work.entities.change("disk", str(transfer.body[DISK]), lambda disk: replace(disk, status="illegal"))
        say(work, "TRANSFER_IMAGE_FAILED", transfer, f"It cannot be used: {reason}.")
        end(work, transfer.id, "finished_failure", "failed")

    def given_up(self, work: Work) -> None:
        self._fail(work, "nobody could look at it")


def _remove(work: Work) -> None:
    remove_image(work, str(_transfer(work).body[DISK]))


class TransferCancel(_EndJob[CancelTransfer]):
    """As in v4, the partial image of an upload goes, and its disk with it; after a download the disk is as it was."""

    name = "image_transfer.cancel"
    parameters = CancelTransfer
    action: ClassVar[Act] = "cancel"
    doing = "Cancelling"
    last = Planned("remove-image", "Removing the partial image")
    steps = (
        Step("close", _close, is_final=True),
        Step("choose-host", choose_host, weight=0.1, is_final=True),
        Step("remove-image", _remove, is_final=True),
    )

    def prepare(self, entities: Entities, given: CancelTransfer) -> None:
        set_phase(entities, given.transfer_id, "cancelled_system" if given.reason else "cancelled_user")

    def finish(self, work: Work) -> Mapping[str, Any]:
        given, transfer = work.parameters(CancelTransfer), _transfer(work)
        say(work, "TRANSFER_IMAGE_CANCELLED", transfer, given.reason)
        end(work, transfer.id, "finished_failure" if given.reason else "finished_cleanup", "aborted")
        if transfer.body["direction"] == "upload":
            disk_id = str(transfer.body[DISK])
            for one in attached_to(work.entities, disk_id):
                work.entities.remove(one.kind, one.id)
            forget_disk(work.entities, disk_id)
            work.entities.remove("disk", disk_id)
        return {}

    def given_up(self, work: Work) -> None:
        transfer = _transfer(work)
        if transfer.body["direction"] == "upload":
            work.entities.change("disk", str(transfer.body[DISK]), lambda disk: replace(disk, status="illegal"))
        say(work, "TRANSFER_IMAGE_FAILED", transfer, "It could not be cancelled wholly.")
        end(work, transfer.id, "finished_failure", "failed")
