"""What billing is told to do, and what it may answer."""

from __future__ import annotations

from stream import Command, Event


class BillingPrepared(Event, type="billing.prepared"):
    """The bill is ready."""

    bill_id: str


class BillingTakenBack(Event, type="billing.taken_back"):
    """The bill is void."""

    bill_id: str


class PrepareBilling(Command[BillingPrepared], type="billing.prepare", topic="billing", key="call_id", natural_key=("bill_id",)):
    """Prepare the bill of a call. `bill_id` is new for every bill of the call, and what `TakeBackBilling` names."""

    call_id: str
    bill_id: str
    disposition: str


class TakeBackBilling(Command[BillingTakenBack], type="billing.take_back", topic="billing", key="call_id", natural_key=("bill_id",)):
    """Undo exactly that bill. It must bear that the bill was never made: orders may overtake each other on billing's side."""

    call_id: str
    bill_id: str
    reason: str
