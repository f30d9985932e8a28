"""The App under simulation: orders, and the parcels they ask for one hop further; people are asked of both. All its clocks run out within seconds."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from stream import App, Data, Event, Machine, Owner, Sla, State, Task, any_of, anytime, opens, parse_owners, seconds
from stream.core.topic import Topic

PARTITIONS = {"orders": 2, "parcels": 1, "told": 2, "alerts": 1}
BROKEN, ALWAYS, UNSTORABLE = "broken", "always", "unstorable"


@dataclass
class Handlers:
    """Whether the release with the fault in it is running: a handler that raised for `BROKEN` no longer does once it is mended."""

    mended: bool = False


handlers = Handlers()

# -- orders ----------------------------------------------------------------------------------------------------------------------------


class OrderEvent(Event, topic="orders", key="order"):
    order: str


class Placed(OrderEvent, type="order.placed"): ...


class Noted(OrderEvent, type="order.noted"):
    n: int
    flaw: str = ""


class Paid(OrderEvent, type="order.paid"): ...


class Shipped(OrderEvent, type="order.shipped"): ...


class Viewed(OrderEvent, type="order.viewed"): ...


class Withdrawn(OrderEvent, type="order.withdrawn", natural_key=("order",)):
    why: str = ""


class Told(Event, topic="told", key="order", type="customer.told"):
    order: str
    text: str


class ParcelEvent(Event, topic="parcels", key="order"):
    order: str


class Asked(ParcelEvent, type="parcel.asked"):
    notes: int


class Packed(ParcelEvent, type="parcel.packed"): ...


class Weighed(ParcelEvent, type="parcel.weighed"):
    grams: int


class Order(Data):
    order: str
    notes: list[int] = msgspec.field(default_factory=list[int])


def place(e: Placed) -> Order:
    return Order(order=e.order)


def note(o: Order, e: Noted) -> None:
    o.notes.append(e.n)
    if e.flaw == ALWAYS or (e.flaw == BROKEN and not handlers.mended):
        raise RuntimeError(e.flaw)


def tell_note(o: Order, e: Noted) -> Told:
    return Told(order=o.order, text=f"note {e.n}")


def ask(o: Order, e: Paid) -> Asked:
    return Asked(order=o.order, notes=len(o.notes))


def tell_late(o: Order) -> Told:
    return Told(order=o.order, text="it will be late")


def tell_shipped(o: Order, e: Shipped) -> list[Told]:
    return [Told(order=o.order, text="shipped"), Told(order=o.order, text="thank you")]


DESK, LEAD = Owner("desk"), Owner("lead")
CAUSES = ("store", "road")


def question(o: Order) -> str:
    return f"{o.order} is not paid: what becomes of it?"


placed = State[Order](
    "placed",
    owner=DESK,
    sla=Sla(seconds(2), escalate_to=LEAD),
    task=Task(question, answers=(Paid, Withdrawn), within=seconds(1), escalate_to=LEAD),
    ignores=(Viewed,),
    defers=(Shipped,),
    defers_within=seconds(3),
)
overdue = State[Order]("overdue", owner=LEAD, sla=Sla(seconds(3)), task=Task("And now?", answers=(Withdrawn,), owner=DESK))
paid = State[Order]("paid", owner=DESK)
late = State[Order]("late")
shipped, withdrawn = State[Order]("shipped", final=True), State[Order]("withdrawn", final=True)

order = Machine[Order](
    "order",
    data=Order,
    events=(OrderEvent,),
    unborn_within=seconds(4),
    transitions=(
        opens(Placed, to=placed, then=place),
        placed.on(placed.breached, to=overdue),
        any_of(placed, overdue).on(Paid, to=paid, emit=ask),
        any_of(paid, late).on(Shipped, to=shipped, emit=tell_shipped),
        paid.after(seconds(2), to=late, emit=tell_late),
        any_of(placed, overdue, paid).on(Withdrawn, to=withdrawn),
        anytime(Noted, then=note, emit=tell_note),
    ),
)

# -- parcels: the second hop, also fed from outside ------------------------------------------------------------------------------------


class Parcel(Data):
    order: str
    notes: int
    grams: int = 0


def begin(e: Asked) -> Parcel:
    return Parcel(order=e.order, notes=e.notes)


def weigh(p: Parcel, e: Weighed) -> None:
    p.grams = e.grams


def tell_packed(p: Parcel, e: Packed) -> Told:
    return Told(order=p.order, text=f"packed, {p.grams} g")


asked = State[Parcel](
    "asked", owner=Owner("store"), sla=Sla(seconds(2), escalate_to=LEAD, reasons=CAUSES), defers=(Packed,), defers_within=seconds(5)
)
weighed = State[Parcel]("weighed", owner=Owner("store"), sla=Sla(seconds(2)))
packed = State[Parcel]("packed", final=True)

parcel = Machine[Parcel](
    "parcel",
    data=Parcel,
    events=(ParcelEvent,),
    unborn_within=seconds(3),
    transitions=(
        opens(Asked, to=asked, then=begin),
        asked.on(Weighed, to=weighed, then=weigh),
        weighed.on(Packed, to=packed, emit=tell_packed),
    ),
)

OWNERS = """
[owners.lead]
people = ["ann"]
tell = [{ log = true }]
[owners.desk]
tell = [{ log = true }]
"""
app = App("shop", machines=(order, parcel), topics=tuple(Topic(name, partitions=n) for name, n in PARTITIONS.items()), owners=parse_owners(OWNERS))
