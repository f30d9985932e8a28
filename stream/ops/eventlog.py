"""The history as an event log for process mining, written as it is read: CSV, XES (IEEE 1849-2016), or OCEL 2.0 as JSON.

A case is an entity, an activity the type of an event. Of an event that concerned several entities, CSV and XES have a line in each case; OCEL has it
once, with all its objects. Everything is read from one snapshot, beside the running streams; memory does not grow with the history.
"""

from __future__ import annotations

import csv
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol
from xml.sax.saxutils import quoteattr

import msgspec
import orjson

from stream.adapters.postgres.connection import QUERIES, Connection, PostgresSettings
from stream.core.app import App
from stream.ops.audit import PATIENCE
from stream.ops.queries import STATEMENTS
from stream.ops.timeline import owner_of

Row = dict[str, Any]
Progress = Callable[[int], None]
COLUMNS = (
    *("case", "activity", "time", "resource", "owner", "machine", "entity_id", "n", "outcome", "reason", "from_state", "to_state"),
    *("event_id", "source", "at", "door", "correlation_id", "causation_id", "trace_id"),
)
_FORMULA = re.compile(r"^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
# What no XML 1.0 can hold, escaped or not.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNKNOWN = "\ufffd"
_XES = """<?xml version="1.0" encoding="UTF-8"?>
<log xes.version="1849-2016" xes.features="" xmlns="http://www.xes-standard.org/">
<extension name="Concept" prefix="concept" uri="http://www.xes-standard.org/concept.xesext"/>
<extension name="Time" prefix="time" uri="http://www.xes-standard.org/time.xesext"/>
<extension name="Organizational" prefix="org" uri="http://www.xes-standard.org/org.xesext"/>
<extension name="Lifecycle" prefix="lifecycle" uri="http://www.xes-standard.org/lifecycle.xesext"/>
<classifier name="activity" keys="concept:name"/>
"""


BY_CASE, BY_EVENT = ("log_by_case", "more_by_case"), ("log_by_event", "more_by_event")
"""Cases and their rows in order; or source and id, so that the rows of one event stand together."""


class Out(Protocol):
    """Where a log is written."""

    def write(self, text: str, /) -> object: ...


class Form(StrEnum):
    """How an event log is written."""

    CSV = "csv"
    XES = "xes"
    OCEL = "ocel"


@dataclass(frozen=True)
class Wanted:
    """Which rows: of a `machine` (None: all), of business time from `since` on and before `until`; `refused`: also what moved nothing."""

    machine: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    refused: bool = False


class Written(msgspec.Struct):
    """`events`: lines of CSV, events of XES, or events of OCEL, where one may have several objects. `cases`: entities that have any."""

    cases: int = 0
    events: int = 0


@dataclass
class _Source:
    connection: Connection
    wanted: Wanted
    app: App

    async def rows(self, cursor: tuple[str, str]) -> AsyncGenerator[Row]:
        """One of the two orders below, by the statements that open its cursor and go on with it."""
        w, (opens, more) = self.wanted, cursor
        await self.connection.execute(opens, w.machine, w.since, w.until, w.refused)
        while found := await self.connection.fetch(more):
            for row in found:
                yield {
                    **dict(row.items()),
                    "case": f"{row['machine']}/{row['entity_id']}",
                    "owner": owner_of(self.app, row["machine"], row["to_state"]),
                }


async def export(settings: PostgresSettings, app: App, wanted: Wanted, form: Form, out: Out, progress: Progress) -> Written:
    """Write all of it to `out`. `progress` is told how many events are written. Raises `UnavailableError`."""
    write = {Form.CSV: _csv, Form.XES: _xes, Form.OCEL: _ocel}[form]
    async with _snapshot(settings) as connection:
        return await write(_Source(connection, wanted, app), out, progress)


@asynccontextmanager
async def _snapshot(settings: PostgresSettings) -> AsyncGenerator[Connection]:
    patient = replace(settings, statement=PATIENCE, idle=PATIENCE, transaction=PATIENCE)
    connection = Connection(patient, {**QUERIES, **STATEMENTS})
    try:
        async with connection.transaction("begin_look"):
            yield connection
    finally:
        await connection.close()


async def _csv(source: _Source, out: Out, progress: Progress) -> Written:
    writer, told, case = csv.writer(out), Written(), ""
    writer.writerow(COLUMNS)
    async for row in source.rows(BY_CASE):
        told.cases, told.events, case = told.cases + (row["case"] != case), told.events + 1, row["case"]
        writer.writerow([_cell(row[name]) for name in COLUMNS])
        progress(told.events)
    return told


def _cell(value: object) -> object:
    """Text of events is anybody's: what a spreadsheet would take for a formula gets an apostrophe before it."""
    if isinstance(value, datetime):
        return _instant(value)
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


async def _xes(source: _Source, out: Out, progress: Progress) -> Written:
    told, case = Written(), ""
    out.write(_XES)
    async for row in source.rows(BY_CASE):
        if row["case"] != case:
            out.write("</trace>\n" if case else "")
            told.cases, case = told.cases + 1, row["case"]
            out.write(f"<trace>{_attribute('concept:name', case)}{_attribute('machine', row['machine'])}\n")
        out.write(f"<event>{''.join(_attributes(row))}</event>\n")
        told.events += 1
        progress(told.events)
    out.write("</trace>\n</log>\n" if case else "</log>\n")
    return told


def _attributes(row: Row) -> Iterator[str]:
    yield _attribute("concept:name", row["activity"])
    yield f'<date key="time:timestamp" value="{_instant(row["time"])}"/>'
    yield _attribute("lifecycle:transition", "complete" if row["outcome"] == "applied" else "abort_activity")
    named = {"concept:instance": "event_id", "org:resource": "resource", "org:group": "owner"}
    others = ("outcome", "reason", "from_state", "to_state", "source", "correlation_id", "trace_id")
    for key, name in (*named.items(), *((name, name) for name in others)):
        if row[name]:
            yield _attribute(key, row[name])


def _attribute(key: str, value: str) -> str:
    return f"<string key={quoteattr(key)} value={quoteattr(_NO_XML.sub(_UNKNOWN, value))}/>"


async def _ocel(source: _Source, out: Out, progress: Progress) -> Written:
    """Objects with the states they were in, then events with their objects; the types, known by then, at the end."""
    told, machines, kinds = Written(), dict[str, None](), dict[str, None]()
    out.write('{"objects":[')
    async for case in _cases(source):
        machines[case["type"]] = None
        _item(out, case, first=not told.cases)
        told.cases += 1
    out.write('],\n"events":[')
    async for event in _events(source):
        kinds[event["type"]] = None
        _item(out, event, first=not told.events)
        told.events += 1
        progress(told.events)
    states = [{"name": "state", "type": "string"}, {"name": "owner", "type": "string"}]
    said = [{"name": name, "type": "string"} for name in ("resource", "source", "correlation_id", "trace_id")]
    out.write('],\n"objectTypes":' + _json([{"name": name, "attributes": states} for name in machines]))
    out.write(',\n"eventTypes":' + _json([{"name": name, "attributes": said} for name in kinds]) + "}\n")
    return told


async def _cases(source: _Source) -> AsyncGenerator[Row]:
    """The objects, each with the values that its state and owner had, from when on."""
    case: Row = {}
    known: dict[str, str] = {}
    async for row in source.rows(BY_CASE):
        if row["case"] != case.get("id"):
            if case:
                yield case
            case, known = {"id": row["case"], "type": row["machine"], "attributes": [], "relationships": []}, {}
        for name, value in (("state", row["to_state"]), ("owner", row["owner"])):
            if value != known.get(name, ""):
                known[name] = value
                case["attributes"].append({"name": name, "time": _instant(row["time"]), "value": value})
    if case:
        yield case


async def _events(source: _Source) -> AsyncGenerator[Row]:
    event: Row = {}
    known = ("", "")
    async for row in source.rows(BY_EVENT):
        if (row["source"], row["event_id"]) != known:
            if event:
                yield event
            known = (row["source"], row["event_id"])
            # A blank of the source would be taken for the one between the two.
            id = f"{row['source'].replace(' ', '%20')} {row['event_id']}"
            said = [{"name": name, "value": row[name]} for name in ("resource", "source", "correlation_id", "trace_id")]
            event = {"id": id, "type": row["activity"], "time": _instant(row["time"]), "attributes": said, "relationships": []}
        event["relationships"].append({"objectId": row["case"], "qualifier": row["outcome"]})
    if event:
        yield event


def _item(out: Out, value: Row, *, first: bool) -> None:
    out.write("\n" if first else ",\n")
    out.write(_json(value))


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
