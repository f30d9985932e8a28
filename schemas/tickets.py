"""What can happen to a ticket."""

from __future__ import annotations

from typing import Literal

from stream import Event

Priority = Literal[1, 2, 3, 4]
"""1 is critical, 4 can wait."""


class TicketEvent(Event, topic="tickets", key="ticket_id"):
    """The family: everything on topic `tickets`, in order per ticket."""

    ticket_id: str


class TicketOpened(TicketEvent, type="ticket.opened"):
    """Somebody needs something. Said again about an open ticket, it is an amendment."""

    title: str = ""
    priority: Priority = 3


class TicketTriaged(TicketEvent, type="ticket.triaged"):
    """The desk decided which group it is for; nobody in it works on it yet."""

    group: str


class TicketStarted(TicketEvent, type="ticket.started"):
    """A person took it, or took it over."""

    assignee: str


class TicketTakenOver(TicketEvent, type="ticket.taken_over"):
    """A lead says who has it, after it was passed around."""

    assignee: str


class TicketAsked(TicketEvent, type="ticket.asked"):
    """We need something from the customer. `question` may name {ticket_id} and {title}; empty: asked by other means, nothing to send."""

    question: str = ""


class TicketAnswered(TicketEvent, type="ticket.answered"):
    """The customer answered."""


class TicketBlocked(TicketEvent, type="ticket.blocked"):
    """It cannot go on until somebody outside the desk has done something: a vendor, another team."""

    by: str


class TicketFreed(TicketEvent, type="ticket.freed"):
    """What blocked it is gone."""


class TicketResolved(TicketEvent, type="ticket.resolved"):
    """It works again. Without a cause it does not count as resolved."""

    cause: str = ""


class TicketReopened(TicketEvent, type="ticket.reopened"):
    """The customer says that it does not work after all."""


class TicketClosed(TicketEvent, type="ticket.closed"):
    """Done with for good."""
