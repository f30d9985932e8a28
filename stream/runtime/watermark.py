"""Watermarks: up to which instant each machine's events have certainly been applied, found by sweeps over levels of feeds.

Theory of operation. A sweep carries one instant, `bound`, up the levels of the App. On a level it first waits until no message for the level's
topics is unsent that was written before the level below was done, then until every partition of those topics was seen drained after that (or has
taken an event beyond the bound); then the level's machines are known up to the bound. Before it goes up, what they had due until then must have
fired: a timer's message may be the very event that meets a clock one level higher. What stands still for ten minutes of real time, while somebody
looks, holds nothing any more; what is reached by passing it over is marked. Pure: looks go in, watermarks come out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum

from stream.core.app import Feedmap
from stream.core.record import TopicPartition
from stream.ports.timetable import Feed, Feeds

PATIENCE = timedelta(minutes=10)

Hold = TopicPartition | str
"""A partition, or a topic: of which nothing is known yet, or whose messages are unsent."""


class Wait(Enum):
    """What a sweep waits for on a level, in this order; the lowest level has nothing to wait for before its partitions."""

    SENDING = "sending"
    DRAINING = "draining"
    FIRING = "firing"


@dataclass(frozen=True, slots=True)
class Sweep:
    """Where a sweep stands: on `level`, waiting as of `since`. None: as of the next look, since nothing older is surely later than the last wait.

    All in movable time, as drained marks and outbox rows are stamped. `marked`: something silent was passed over.
    """

    bound: datetime
    since: datetime | None = None
    level: int = 0
    wait: Wait = Wait.DRAINING
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Watermarks:
    """What is known: the bound of each machine, which of them were reached past a silent feed, the sweep under way, and what was last seen move.

    `moved`: for each hold, what it looked like and the real time of the first look at it like that.
    """

    until: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    marked: Set[str] = frozenset()
    sweep: Sweep | None = None
    moved: Mapping[Hold, tuple[object, datetime]] = field(default_factory=dict[Hold, tuple[object, datetime]])


def step(known: Watermarks, feedmap: Feedmap, look: Feeds) -> Watermarks:
    """Take one look into account: ends one wait at most. A sweep that is through is followed by the next one."""
    moved = _moved(known.moved, feedmap, look)
    silent = {hold for hold, (_, since) in moved.items() if look.clock - since >= PATIENCE}
    sweep = known.sweep or Sweep(look.now)
    since = sweep.since or look.now
    holding = set(_holding(sweep, since, feedmap, look))
    if sweep.wait is Wait.FIRING or not feedmap.levels or not holding <= silent:
        return replace(known, sweep=replace(sweep, since=since), moved=moved)
    sweep = replace(sweep, since=None, marked=sweep.marked or bool(holding))
    if sweep.wait is Wait.SENDING:
        return replace(known, sweep=replace(sweep, wait=Wait.DRAINING), moved=moved)
    until, marked = dict(known.until), set(known.marked)
    for name in _machines_of(feedmap, sweep.level):
        until[name] = max(sweep.bound, until.get(name, sweep.bound))
        (marked.add if sweep.marked else marked.discard)(name)
    last = sweep.level + 1 == len(feedmap.levels)
    return Watermarks(until, frozenset(marked), Sweep(look.now, look.now) if last else replace(sweep, wait=Wait.FIRING), moved)


def held(known: Watermarks, feedmap: Feedmap, look: Feeds) -> tuple[Set[Hold], datetime]:
    """What the sweep waits for after that look, and since when, in movable time."""
    sweep = known.sweep
    if sweep is None or sweep.since is None:
        return frozenset(), look.now
    return frozenset(_holding(sweep, sweep.since, feedmap, look)), sweep.since


def firing(known: Watermarks, feedmap: Feedmap) -> Set[str]:
    """The machines whose due timers must fire before the sweep goes up; none while it waits for something else."""
    return _machines_of(feedmap, known.sweep.level) if known.sweep and known.sweep.wait is Wait.FIRING else frozenset()


def fired(known: Watermarks) -> Watermarks:
    """Say that nothing of the machines in `firing` was due any more, as read after the look last taken: the sweep goes up."""
    sweep = known.sweep
    if sweep is None or sweep.wait is not Wait.FIRING:
        return known
    return replace(known, sweep=replace(sweep, since=None, level=sweep.level + 1, wait=Wait.SENDING))


def _machines_of(feedmap: Feedmap, level: int) -> Set[str]:
    return {name for name, (its, _) in feedmap.machines.items() if its == level}


def _holding(sweep: Sweep, since: datetime, feedmap: Feedmap, look: Feeds) -> Iterator[Hold]:
    topics = feedmap.levels[sweep.level] if feedmap.levels else frozenset[str]()
    if sweep.wait is Wait.SENDING:
        yield from _unsent(topics, since, look)
    elif sweep.wait is Wait.DRAINING:
        yield from _lagging(topics, sweep.bound, since, look)


def _unsent(topics: Set[str], since: datetime, look: Feeds) -> Iterator[Hold]:
    for topic in topics:
        if topic in look.unsent and look.unsent[topic] <= since:
            yield topic


def _lagging(topics: Set[str], bound: datetime, since: datetime, look: Feeds) -> Iterator[Hold]:
    for topic in topics:
        feeds = [feed for feed in look.partitions if feed.place.topic == topic]
        if not feeds:
            yield topic
        yield from (feed.place for feed in feeds if not _done(feed, bound, since))


def _done(feed: Feed, bound: datetime, since: datetime) -> bool:
    drained = feed.drained_at is not None and feed.drained_at >= since
    return drained or (feed.stream_time is not None and feed.stream_time > bound)


def _moved(before: Mapping[Hold, tuple[object, datetime]], feedmap: Feedmap, look: Feeds) -> dict[Hold, tuple[object, datetime]]:
    looks: dict[Hold, object] = {topic: look.unsent.get(topic) for topics in feedmap.levels for topic in topics}
    looks |= {feed.place: (feed.next_offset, feed.drained_at) for feed in look.partitions}
    return {hold: before[hold] if hold in before and before[hold][0] == seen else (seen, look.clock) for hold, seen in looks.items()}
