"""A porch with lamps: a small app for tests of the codec, and the short ways to a decoded record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from stream import App, Data, Event, Machine, Owner, State, Topic, about, opens
from stream.core.codec import Codec, record_of
from stream.core.entity import Trace
from stream.core.order import Claim, Decoded, Deliver
from stream.core.record import Record, TopicPartition

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLACE = TopicPartition("lamps", 0)
PARENT = Trace("ab" * 16, "cd" * 8)


class LampEvent(Event, topic="lamps", key="lamp"):
    lamp: str


class Lit(LampEvent, type="lamp.lit"):
    watts: int = 0
    colours: tuple[str, ...] = ()
    note: str | None = None


class Billed(LampEvent, type="lamp.billed", version=2, natural_key=("lamp", "month")):
    month: str


class Lamp(Data):
    lamp: str


def which(e: LampEvent) -> str:
    if e.lamp == "boom":
        raise LookupError("no such lamp\0")
    if e.lamp == "exit":
        raise SystemExit(3)
    return e.lamp


def light(e: Lit) -> Lamp:
    return Lamp(lamp=e.lamp)


ON: State[Lamp] = State("On", owner=Owner("porter"))
OUT: State[Lamp] = State("Out", final=True)
LAMP = Machine("lamp", data=Lamp, events=(about(LampEvent, which),), transitions=(opens(Lit, to=ON, then=light), ON.on(Billed, to=OUT)))


def mapped(record: Record) -> Mapping[str, str]:
    return {"id": (record.key or b"").decode(), "source": "/plain", "type": "lamp.lit"}


APP = App("house", machines=[LAMP], topics=[Topic("lamps"), Topic("quiet", unknown="skip", no_data="skip"), Topic("plain", mapper=mapped)])


def codec(app: App = APP) -> Codec:
    return Codec(app, "g", sample=lambda trace_id: True, horizon=timedelta(days=14))


def lit(lamp: str = "a", *, id: str = "1", time: datetime = NOW, trace: Trace | None = None) -> Record:
    return on_log(record_of(Lit(lamp=lamp), id=id, source="/porch", time=time, trace=trace))


def on_log(record: Record, topic: str = "lamps", offset: int = 7) -> Record:
    return msgspec.structs.replace(record, topic=topic, partition=0, offset=offset)


def decode(*records: Record, now: datetime = NOW, stream_time: datetime | None = None, floor: datetime | None = None) -> Decoded:
    times = {} if stream_time is None else {PLACE: stream_time}
    return codec()(Claim("partitions", now, now, records, stream_times=times, floors={} if floor is None else {"lamps": floor}))


def one(decoded: Decoded) -> Deliver:
    (order,) = decoded.orders
    assert isinstance(order, Deliver)
    return order
