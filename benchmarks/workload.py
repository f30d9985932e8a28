"""The load that all benchmarks share: orders that change state by 400-byte events, one follow-up each, on a seeded day."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from stream import App, Data, Event, Machine, Owner, State, any_of, opens
from stream.core.codec import record_of
from stream.core.record import Record

BEGAN = datetime(2026, 1, 15, 8, tzinfo=UTC)
TEAM = Owner("order team")


class OrderEvent(Event, topic="orders", key="order_id"):
    """The family of the load."""

    order_id: str


class OrderPlaced(OrderEvent, type="order.placed"):
    """Opens an order."""

    amount: float
    actor: str
    note: str


class OrderChanged(OrderEvent, type="order.changed"):
    """Moves it on."""

    amount: float
    actor: str
    note: str


class OrderMoved(Event, type="order.moved", topic="moved", key="order_id"):
    """The follow-up."""

    order_id: str
    amount: float
    actor: str
    note: str


class Sum(Data):
    """What an order knows."""

    order_id: str
    amount: float = 0.0
    actor: str = ""
    count: int = 0


def place(e: OrderPlaced) -> Sum:
    """A new order."""
    return Sum(order_id=e.order_id, amount=e.amount, actor=e.actor, count=1)


def change(s: Sum, e: OrderChanged) -> None:
    """Adds up."""
    s.amount += e.amount
    s.actor = e.actor
    s.count += 1


def tell(s: Sum, e: OrderPlaced | OrderChanged) -> OrderMoved:
    """One follow-up an event."""
    return OrderMoved(order_id=s.order_id, amount=s.amount, actor=s.actor, note=e.note)


calm = State[Sum]("calm", owner=TEAM)
busy = State[Sum]("busy", owner=TEAM)
order = Machine[Sum](
    "order",
    data=Sum,
    events=(OrderEvent,),
    transitions=(
        opens(OrderPlaced, to=calm, then=place, emit=tell),
        calm.on(OrderChanged, to=busy, then=change, emit=tell),
        busy.on(OrderChanged, to=calm, then=change, emit=tell),
        any_of(calm, busy).on(OrderPlaced),
    ),
)
app = App("bench", machines=(order,))


def records(count: int, entities: int, seed: int, duplicates: float = 0.01) -> list[Record]:
    """`count` records of one partition from offset 0; each entity opens with its first event."""
    rng = random.Random(seed)
    opened: set[str] = set()
    made: list[Record] = []
    for n in range(count):
        if made and rng.random() < duplicates:
            old = made[rng.randrange(len(made))]
            made.append(Record("orders", 0, n, old.timestamp, old.key, old.value, old.headers))
            continue
        key = f"order-{seed}-{rng.randrange(entities):08d}"
        kind = OrderChanged if key in opened else OrderPlaced
        opened.add(key)
        note = "the customer called about the late delivery, please check with the carrier and call back before noon " * 2
        event = kind(order_id=key, amount=rng.randrange(100000) / 100, actor=f"user-{rng.randrange(1000):05d}", note=note)
        time = BEGAN + timedelta(milliseconds=n)
        plain = record_of(event, id=f"{rng.getrandbits(128):032x}", source="bench", time=time, attributes=(("correlationid", f"c-{seed}-{n}"),))
        made.append(Record("orders", 0, n, plain.timestamp, plain.key, plain.value, plain.headers))
    return made
