"""What became of the corpus, and what is wrong with it: each record's verdict and bytes, each entity, each count."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import asyncpg
import msgspec

from stream.adapters.postgres.columns import unpack_headers
from stream.core.outcome import Reason, Verdict
from stream.core.record import TopicPartition
from tests.hostile.app import Note, Pulse
from tests.hostile.case import Case
from tests.hostile.land import Lane
from tests.hostile.of_frames import COUNT, Frame
from tests.hostile.of_traces import NEW, OWN, TRACE

Place: TypeAlias = tuple[TopicPartition, int]
"""A partition and an offset."""
_HEX = re.compile(r"[0-9a-f]{32}")


class Judge:
    """`halts`: what was seen at each halt."""

    def __init__(self, lanes: Sequence[Lane], halts: Mapping[Place, str]) -> None:
        self._lanes, self._halts = lanes, halts
        self._letters: dict[Place, asyncpg.Record] = {}
        self._entities: dict[tuple[str, str], bytes] = {}
        self._history: dict[tuple[str, str], list[asyncpg.Record]] = {}
        self._counts: dict[TopicPartition, asyncpg.Record] = {}
        self._waiting = 0

    async def look(self, link: asyncpg.Connection) -> None:
        for row in await link.fetch('select topic, partition, "offset", reason, error, key, value, headers from dead_letter'):
            place = (TopicPartition(row["topic"], row["partition"]), row["offset"])
            assert place not in self._letters, f"two letters for {place}"
            self._letters[place] = row
        for row in await link.fetch("select machine, id, data from entity where version > 0"):
            self._entities[row["machine"], row["id"]] = row["data"]
        for row in await link.fetch("select event_id, event_type, entity_id, outcome, correlation_id, trace_id, error from history"):
            self._history.setdefault((row["event_type"], row["event_id"]), []).append(row)
        for row in await link.fetch("select * from partition"):
            self._counts[TopicPartition(row["topic"], row["partition"])] = row
        self._waiting = (await link.fetch("select count(*) as n from waiting"))[0]["n"]

    def faults(self) -> Iterator[str]:
        if self._waiting:
            yield f"{self._waiting} events wait, though nothing was early or failed"
        for lane in self._lanes:
            yield from self._of_lane(lane)
            for offset, case in lane.cases.items():
                yield from (f"{case.name}: {fault}" for fault in self._of_case(lane, offset, case))
            for offset, frame in lane.frames.items():
                yield from (f"{frame.name}: {fault}" for fault in self._of_frame(lane, offset, frame))
        if strange := len(self._letters) - self._letters_wanted():
            yield f"{strange} letters more than there should be"

    def _letters_wanted(self) -> int:
        of_cases = sum(case.reason is not None for lane in self._lanes for case in lane.cases.values())
        return of_cases + sum(len(frame.letters) for lane in self._lanes for frame in lane.frames.values())

    def _of_lane(self, lane: Lane) -> Iterator[str]:
        beats = msgspec.json.decode(self._entities[("pulse", lane.pulse)], type=Pulse).beats
        if beats != lane.beats:
            yield f"{lane.pulse}: its healthy entity took {beats} instead of {lane.beats}"
        row = self._counts[lane.place]
        if row["next_offset"] != lane.end:
            yield f"{lane.pulse}: it stands at {row['next_offset']}, its log ends at {lane.end}"
        counts = Counter(case.verdict for case in lane.cases.values())
        counts[Verdict.ADMITTED] += len(lane.beats)
        counts[Verdict.DEAD] += sum(len(frame.letters) for frame in lane.frames.values())
        for verdict in Verdict:
            if row[verdict] != counts[verdict]:
                yield f"{lane.pulse}: {row[verdict]} are {verdict}, {counts[verdict]} should be"

    def _of_case(self, lane: Lane, offset: int, case: Case) -> Iterator[str]:
        letter = self._letters.get((lane.place, offset))
        if case.reason is None:
            if letter:
                yield f"dead as {letter['reason']} ({letter['error'][:200]}), though it should be {case.verdict}"
        elif letter is None:
            yield f"no letter, though it should be {case.reason}"
        else:
            yield from _of_letter(letter, case)
        if case.note is not None:
            yield from self._of_note(case, case.note)

    def _of_note(self, case: Case, note: Note) -> Iterator[str]:
        rows = [row for kind in _KINDS for row in self._history.get((kind, case.event_id), ())]
        if [(row["outcome"], row["entity_id"]) for row in rows] != [("applied", note.id)]:
            yield f"its history is {[dict(row) for row in rows]}"
            return
        kept = msgspec.json.decode(self._entities["note", note.id], type=Note)
        if kept != note:
            yield f"it made {str(kept)[:200]}"
        row = rows[0]
        if case.trace and (not _HEX.fullmatch(row["trace_id"]) or (row["trace_id"] != case.trace if case.trace != NEW else row["trace_id"] == TRACE)):
            yield f"its trace is {row['trace_id']}"
        if case.correlation and not (
            row["correlation_id"] == case.correlation or (case.correlation == OWN and _HEX.fullmatch(row["correlation_id"]))
        ):
            yield f"its correlation is {row['correlation_id'][:200]!r}"

    def _of_frame(self, lane: Lane, offset: int, frame: Frame) -> Iterator[str]:
        fault = self._halts.get((lane.place, offset))
        if frame.fault is None:
            reasons = [self._letters[lane.place, offset + n]["reason"] for n in range(COUNT) if (lane.place, offset + n) in self._letters]
            if fault is not None or reasons != list(frame.letters):
                yield f"it should be read, with {frame.letters}; the fault is {fault}, the letters are {reasons}"
        elif fault is None or not re.search(frame.fault, fault) or ((lane.place, offset + 1) in self._halts) is not frame.blind:
            yield f"it should halt its partition ({frame.fault}); it did so for {fault}"


_KINDS = ("note.written", "note.mapped", "note.skimmed", "note.routed", "note.checked")


def _of_letter(letter: asyncpg.Record, case: Case) -> Iterator[str]:
    if letter["reason"] != case.reason:
        yield f"dead as {letter['reason']} ({letter['error'][:200]}), though it should be {case.reason}"
    headers = [(name.encode("utf-8", "surrogateescape"), value) for name, value in unpack_headers(letter["headers"])]
    for what, kept, sent in (("key", letter["key"], case.key), ("value", letter["value"], case.value), ("headers", headers, list(case.headers))):
        if kept != sent:
            yield f"its {what} is not as it was sent: {str(kept)[:200]}"


def known(reasons: Sequence[Case]) -> set[Reason]:
    """The reasons that the corpus has cases of."""
    return {case.reason for case in reasons if case.reason}
