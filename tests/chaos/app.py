"""The App under test: accounts that book what happens to them into books one hop further, pooled accounts that share events, and holds that expire.

`CHAOS_TAG` gives a process topics of its own names, so that many runs may share a broker; without it they are called plainly, as oracles see them.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from datetime import timedelta

from stream import App, Cause, Data, Event, Machine, Owner, Sla, State, about, any_of, opens, seconds
from stream.core.topic import Topic

PARTITIONS = {"accounts": 8, "transfers": 4, "holds": 4, "booked": 8, "reports": 2, "alerts": 1}
SLA = timedelta(seconds=20)
REPORT_EVERY = 10
LONG = timedelta(days=3650)


@dataclass(frozen=True)
class Names:
    """What topics and group of a run are called."""

    tag: str = ""

    def topic(self, kind: str) -> str:
        return f"{kind}-{self.tag}" if self.tag else kind

    def kind(self, topic: str) -> str:
        return topic.removesuffix(f"-{self.tag}")

    @property
    def group(self) -> str:
        return self.topic("chaos")

    @property
    def topics(self) -> list[Topic]:
        return [Topic(self.topic(kind), partitions=n) for kind, n in PARTITIONS.items()]


@dataclass
class Repair:
    """Whether the handlers that raise were mended; `CHAOS_MENDED` says so from the start."""

    done: bool


NAMES = Names(os.environ.get("CHAOS_TAG", ""))
repair = Repair(bool(os.environ.get("CHAOS_MENDED")))
_topic, _attempts = NAMES.topic, itertools.count()

# -- accounts ------------------------------------------------------------------------------------------------------------------------


class AccountEvent(Event, topic=_topic("accounts"), key="account"):
    account: str
    n: int


class Opened(AccountEvent, type="account.opened"):
    book: str
    amount: int


class Deposited(AccountEvent, type="account.deposited"):
    amount: int


class Withdrawn(AccountEvent, type="account.withdrawn"):
    amount: int


class Charged(AccountEvent, type="account.charged", natural_key=("account", "invoice")):
    invoice: str
    amount: int


class Spoiled(AccountEvent, type="account.spoiled"):
    amount: int


class Flapped(AccountEvent, type="account.flapped"):
    amount: int


class Frozen(AccountEvent, type="account.frozen"): ...


class Thawed(AccountEvent, type="account.thawed"): ...


class Closed(AccountEvent, type="account.closed"): ...


class Transferred(Event, topic=_topic("transfers"), key="transfer", type="account.transferred"):
    transfer: str
    giver: str
    taker: str
    amount: int


class Booked(Event, topic=_topic("booked"), key="book", type="booked"):
    book: str
    account: str
    count: int
    amount: int
    balance: int


class Account(Data):
    account: str
    book: str
    n: int
    count: int
    balance: int


def open_account(e: Opened) -> Account:
    return Account(account=e.account, book=e.book, n=e.n, count=1, balance=e.amount)


def add(a: Account, e: Deposited | Charged | Spoiled | Flapped) -> None:
    a.n, a.count, a.balance = e.n, a.count + 1, a.balance + e.amount


def has_funds(a: Account, e: Withdrawn) -> bool:
    return a.balance >= e.amount


def take(a: Account, e: Withdrawn) -> None:
    a.n, a.count, a.balance = e.n, a.count + 1, a.balance - e.amount


def add_spoiled(a: Account, e: Spoiled) -> None:
    add(a, e)
    if not repair.done:
        raise ValueError("spoiled")


def add_flapped(a: Account, e: Flapped) -> None:
    # Impure on purpose: whether it fails depends on how often this process has tried one.
    if not repair.done and next(_attempts) % 2 == 0:
        raise RuntimeError("now and then")
    add(a, e)


def move(a: Account, e: Transferred) -> None:
    a.count, a.balance = a.count + 1, a.balance + signed(a, e)


def signed(a: Account, e: Transferred) -> int:
    return e.amount if e.taker == a.account else -e.amount


def _booked(a: Account, amount: int) -> Booked:
    return Booked(book=a.book, account=a.account, count=a.count, amount=amount, balance=a.balance)


def tell(a: Account, e: Opened | Deposited | Charged | Spoiled | Flapped) -> Booked:
    return _booked(a, e.amount)


def tell_taken(a: Account, e: Withdrawn) -> Booked:
    return _booked(a, -e.amount)


def tell_moved(a: Account, e: Transferred) -> Booked:
    return _booked(a, signed(a, e))


def both(e: Transferred) -> list[str]:
    return [e.giver, e.taker]


live = State[Account]("live", owner=Owner("desk"), sla=Sla(SLA, escalate_to=Owner("lead")), ignores=(Thawed,))
frozen = State[Account]("frozen", defers=(Deposited, Withdrawn, Charged, Spoiled, Flapped, Transferred), defers_within=LONG)
closed = State[Account]("closed", final=True)
account = Machine[Account](
    "account",
    data=Account,
    events=(AccountEvent, about(Transferred, both)),
    unborn_within=LONG,
    transitions=(
        opens(Opened, to=live, then=open_account, emit=tell),
        live.on(Deposited, then=add, emit=tell),
        live.on(Withdrawn, when=has_funds, then=take, emit=tell_taken),
        live.on(Charged, then=add, emit=tell),
        live.on(Spoiled, then=add_spoiled, emit=tell),
        live.on(Flapped, then=add_flapped, emit=tell),
        live.on(Transferred, then=move, emit=tell_moved),
        live.on(Frozen, to=frozen),
        frozen.on(Thawed, to=live),
        any_of(live, frozen).on(Closed, to=closed),
    ),
)

# -- books: the second hop -----------------------------------------------------------------------------------------------------------


class Reported(Event, topic=_topic("reports"), key="book", type="reported"):
    book: str
    count: int
    total: int


class Book(Data):
    book: str
    count: int
    total: int
    last: str


def begin(e: Booked, cause: Cause) -> Book:
    return Book(book=e.book, count=1, total=e.amount, last=cause.id)


def enter(b: Book, e: Booked, cause: Cause) -> None:
    b.count, b.total, b.last = b.count + 1, b.total + e.amount, cause.id


def report(b: Book, e: Booked) -> Reported | None:
    return Reported(book=b.book, count=b.count, total=b.total) if b.count % REPORT_EVERY == 0 else None


kept = State[Book]("kept")
full = State[Book]("full", final=True)
book = Machine[Book](
    "book",
    data=Book,
    events=(Booked,),
    transitions=(
        opens(Booked, to=kept, then=begin),
        kept.on(Booked, then=enter, emit=report),
        # A state that is not final has to be left by some row: this one never is.
        kept.settles(to=full, when=lambda b: b.count < 0),
    ),
)

# -- holds: met in time, or expired by the clock -------------------------------------------------------------------------------------


class HoldEvent(Event, topic=_topic("holds"), key="hold"):
    hold: str


class Placed(HoldEvent, type="hold.placed"):
    within: float


class Released(HoldEvent, type="hold.released"): ...


class Expired(Event, topic=_topic("reports"), key="hold", type="hold.expired"):
    hold: str


class Hold(Data):
    hold: str
    within: float


def place(e: Placed) -> Hold:
    return Hold(hold=e.hold, within=e.within)


def within(h: Hold) -> timedelta:
    return seconds(h.within)


def tell_expired(h: Hold) -> Expired:
    return Expired(hold=h.hold)


held = State[Hold]("held")
released = State[Hold]("released", final=True)
expired = State[Hold]("expired", final=True)
hold = Machine[Hold](
    "hold",
    data=Hold,
    events=(HoldEvent,),
    unborn_within=LONG,
    transitions=(
        opens(Placed, to=held, then=place),
        held.on(Released, to=released),
        held.after(within, to=expired, emit=tell_expired),
    ),
)

app = App("chaos", machines=(account, book, hold), topics=NAMES.topics, alerts=_topic("alerts"))
