"""The routes of image transfers: one line each onto the verbs."""

from __future__ import annotations

from appliance.model.image_ticket import ImageTicket, ImageTicketState
from appliance.verbs.image_tickets import ImageTickets


class ImageRoutes:
    """Implements :class:`appliance.wire.image_api.ImageApi`."""

    def __init__(self, tickets: ImageTickets) -> None:
        self._tickets = tickets

    def image_tickets(self) -> tuple[ImageTicketState, ...]:
        return self._tickets.states()

    def image_ticket(self, transfer: str) -> ImageTicketState:
        return self._tickets.state(transfer)

    def image_open(self, ticket: ImageTicket) -> ImageTicketState:
        return self._tickets.open(ticket)

    def image_extend(self, transfer: str, timeout_s: int) -> ImageTicketState:
        return self._tickets.extend(transfer, timeout_s)

    def image_close(self, transfer: str) -> None:
        self._tickets.close(transfer)
