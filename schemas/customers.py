"""What customers are told: messages on topic `customers`, for whoever owns the texts and the channels."""

from __future__ import annotations

from stream import Event


class CustomerTold(Event, type="customer.told", topic="customers", key="ticket_id"):
    """A text for the customer of a ticket."""

    ticket_id: str
    text: str


class CustomerEnRoute(Event, type="customer.en_route", topic="customers", key="call_id", natural_key=("call_id",)):
    """Somebody is on the way. Once a call."""

    call_id: str


class CustomerArrived(Event, type="customer.arrived", topic="customers", key="call_id", natural_key=("call_id",)):
    """Somebody is there. Once a call."""

    call_id: str
