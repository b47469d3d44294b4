"""The agent's interface for image transfers: disks that ovirt-imageio serves over HTTPS to who has a ticket."""

from __future__ import annotations

from typing import Protocol

from appliance.model.image_ticket import ImageTicket, ImageTicketState
from appliance.wire.route import route


class ImageApi(Protocol):
    """One ticket a transfer, which is what it is found by. Unknown transfer: 404 ``image.ticket-unknown``."""

    @route("GET", "/v1/image-tickets", "node", 30.0)
    def image_tickets(self) -> tuple[ImageTicketState, ...]:
        """All of this boot, those too that are not served any more."""

    @route("GET", "/v1/image-tickets/{transfer}", "node", 20.0)
    def image_ticket(self, transfer: str) -> ImageTicketState: ...

    @route("POST", "/v1/image-tickets/open", "command", 120.0)
    def image_open(self, ticket: ImageTicket) -> ImageTicketState:
        """Serve it. Served already by that ticket: nothing. 409 ``disk.locked``, ``image.ticket-differs``; 400
        ``disk.backing``; 404 ``file.unknown``; 500 ``disk.failed``."""

    @route("POST", "/v1/image-tickets/{transfer}/extend", "command", 20.0)
    def image_extend(self, transfer: str, timeout_s: int) -> ImageTicketState:
        """It expires so long from now, unless somebody transfers meanwhile."""

    @route("POST", "/v1/image-tickets/{transfer}/close", "command", 120.0)
    def image_close(self, transfer: str) -> None:
        """Serve it no more; what was written is in the file when this returns. Not there: nothing. 409
        ``image.ticket-busy``."""
