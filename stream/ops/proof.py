"""What became of a proof that outbox and topics agree, for people and for programs."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from rich.console import RenderableType
from rich.text import Text

from stream.ops.render import cell, fields, safe, table
from stream.ops.spool import Finding


class TopicProof(msgspec.Struct):
    """One topic. `records` are the App's, `foreign` all others, which are left alone; `repeats` of the records came before.

    `messages` are what the outbox and the held ones have; of these `unsent`, `held` and `skipped` are not there for a reason.
    `unverifiable`: what one side has and the other may have been too old for; of messages, only those written from `since` on must be there.
    """

    topic: str
    records: int
    foreign: int
    repeats: int
    messages: int
    unsent: int
    held: int
    skipped: int
    unverifiable: int = 0
    since: datetime | None = None


class Proof(msgspec.Struct):
    """`clock`: database time for which it holds. `outbox_since`: when the oldest message was written that the outbox has, None where it has all.

    `counts` of all that was found, by kind; `findings` the first of them. `records`: all that were read, in `seconds`.
    """

    clock: datetime | None = None
    seconds: float = 0.0
    records: int = 0
    outbox_since: datetime | None = None
    counts: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    topics: dict[str, TopicProof] = msgspec.field(default_factory=dict[str, TopicProof])
    findings: list[Finding] = msgspec.field(default_factory=list[Finding])

    @property
    def holds(self) -> bool:
        return not self.counts

    def add(self, finding: Finding, limit: int | None) -> None:
        self.counts[finding.kind] = self.counts.get(finding.kind, 0) + 1
        if limit is None or len(self.findings) < limit:
            self.findings.append(finding)

    @property
    def verdict(self) -> str:
        """One line."""
        if self.holds:
            return "outbox and topics agree"
        return "outbox and topics do not agree: " + ", ".join(f"{n:,} {kind}" for kind, n in self.counts.items())


def plain(proof: Proof) -> object:
    """For programs."""
    whole = {name: getattr(proof, name) for name in proof.__struct_fields__}
    return {"holds": proof.holds, **whole, "topics": list(proof.topics.values())}


def proof_tables(proof: Proof) -> list[RenderableType]:
    """For people: what was compared, topic by topic, then what was found, a line each."""
    head = [
        ("as of", proof.clock),
        ("records read", proof.records),
        ("records a second", int(proof.records / proof.seconds) if proof.seconds else None),
        ("outbox goes back to", proof.outbox_since),
    ]
    names = ("topic", "messages", "unsent", "held", "skipped", "records", "repeats", "foreign", "unverifiable", "since")
    rows = [[getattr(topic, name) for name in names] for topic in proof.topics.values()]
    lines = [Text(safe(line_of(finding))) for finding in proof.findings]
    left = sum(proof.counts.values()) - len(lines)
    return [fields(proof.verdict, head), table("topics", names, rows), *lines, *([Text(f"and {left:,} more: say --all")] if left else [])]


def line_of(finding: Finding) -> str:
    """Kind, place, and what is wrong."""
    f = finding
    place = f.topic if f.partition is None else f"{f.topic}/{f.partition} offset {f.at}"
    who = f"{f.emitter} number {f.number} under {cell(f.key).plain!r}"
    match f.kind:
        case "missing":
            return f"missing: {place}: message {f.seq}, {who}, written {_at(f.written)}, is not there"
        case "gap":
            return f"gap: {place}: {f.emitter} under {cell(f.key).plain!r}: {_range(f)} neither in the outbox nor on the topic"
        case "uncommitted":
            return f"uncommitted: {place}: {who}, id {f.id}, was never committed"
        case "changed":
            return f"changed: {place}: {who}, id {f.id}, is not as " + (f"message {f.seq} was committed" if f.seq is not None else "it was at first")
        case "reordered":
            return f"reordered: {place}: {who} came after a later one"
        case "twofold":
            return f"twofold: {place}: {who}: two messages have this number, one is {f.id}"
        case _:
            return f"unreadable: {place}: up to {f.seq} nobody can read it"


def _range(finding: Finding) -> str:
    return f"number {finding.number} is" if finding.number == finding.seq else f"numbers {finding.number} to {finding.seq} are"


def _at(milliseconds: int | None) -> str:
    return f"{datetime.fromtimestamp((milliseconds or 0) / 1000, UTC):%Y-%m-%d %H:%M:%S}"
