"""Watermarks rise only past what was certainly applied."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from stream.core.app import Feedmap
from stream.core.record import TopicPartition
from stream.ports.timetable import Feed, Feeds
from stream.runtime.watermark import PATIENCE, Watermarks, fired, firing, step

T0 = datetime(2026, 1, 5, 9, tzinfo=UTC)
ONE = Feedmap((frozenset({"tickets"}),), {"ticket": (0, frozenset({"tickets"}))})
TWO = Feedmap(
    (frozenset({"tickets"}), frozenset({"work"})),
    {"ticket": (0, frozenset({"tickets"})), "job": (1, frozenset({"work"}))},
)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def look(seconds: float, drained: Mapping[str, float | None], unsent: Mapping[str, float] | None = None, stream: float | None = None) -> Feeds:
    time = None if stream is None else at(stream)
    feeds = [Feed(TopicPartition(topic, 0), 7, None if s is None else at(s), time) for topic, s in drained.items()]
    return Feeds(at(seconds), at(seconds), feeds, {topic: at(s) for topic, s in (unsent or {}).items()})


def test_a_machine_is_known_up_to_the_start_of_the_sweep_its_feed_was_drained_after() -> None:
    begun = step(Watermarks(), ONE, look(10, {"tickets": 9}))
    assert begun.until == {}
    assert step(begun, ONE, look(12, {"tickets": 11})).until == {"ticket": at(10)}


def test_a_feed_drained_before_the_sweep_holds_the_machine() -> None:
    known = step(Watermarks(), ONE, look(10, {"tickets": 9}))
    assert step(known, ONE, look(400, {"tickets": 9.9})).until == {}


def test_a_feed_that_took_an_event_beyond_the_bound_holds_nothing() -> None:
    known = step(Watermarks(), ONE, look(10, {"tickets": None}))
    assert step(known, ONE, look(11, {"tickets": None}, stream=10)).until == {}
    assert step(known, ONE, look(11, {"tickets": None}, stream=10.1)).until == {"ticket": at(10)}


def test_one_lagging_partition_of_two_holds_the_machine() -> None:
    known = step(Watermarks(), ONE, look(10, {"tickets": 9}))
    feeds = [Feed(TopicPartition("tickets", 0), 7, at(11), None), Feed(TopicPartition("tickets", 1), 7, at(3), None)]
    assert step(known, ONE, Feeds(at(12), at(12), feeds, {})).until == {}


def climbed() -> Watermarks:
    """A sweep from 10 that found the lower level drained at 12, and its timers fired."""
    begun = step(Watermarks(), TWO, look(10, {"tickets": 9, "work": 9}))
    return fired(step(begun, TWO, look(12, {"tickets": 11, "work": 11})))


def test_a_fed_machine_waits_for_unsent_messages_and_then_for_its_own_feed() -> None:
    known = step(climbed(), TWO, look(13, {"tickets": 12, "work": 12}, unsent={"work": 12.5}))
    known = step(known, TWO, look(14, {"tickets": 13, "work": 13}, unsent={"work": 12.5}))
    known = step(known, TWO, look(15, {"tickets": 14, "work": 14}, unsent={"work": 13.5}))
    assert known.until == {"ticket": at(10)}
    known = step(known, TWO, look(16, {"tickets": 15, "work": 15.9}))
    assert known.until == {"ticket": at(10)}, "sent, but the feed may have been drained before that"
    known = step(known, TWO, look(18, {"tickets": 17, "work": 17}))
    assert known.until["job"] == at(10)


def test_a_feed_seen_drained_in_the_look_that_saw_all_sent_may_have_been_drained_before() -> None:
    known = step(climbed(), TWO, look(13, {"tickets": 13.1, "work": 13.1}))
    assert "job" not in known.until
    assert step(known, TWO, look(14, {"tickets": 14.1, "work": 14.1})).until["job"] == at(10)


def test_a_sweep_goes_up_only_when_the_timers_below_have_fired() -> None:
    known = step(Watermarks(), TWO, look(10, {"tickets": 9, "work": 9}))
    assert not firing(known, TWO)
    for seconds in range(12, 20):
        known = step(known, TWO, look(seconds, {"tickets": seconds + 0.1, "work": seconds + 0.1}))
        assert (known.until, firing(known, TWO)) == ({"ticket": at(10)}, {"ticket"})
    known = fired(known)
    assert not firing(known, TWO)
    known = step(known, TWO, look(20, {"tickets": 20, "work": 20}, unsent={"work": 19.5}))
    known = step(known, TWO, look(21, {"tickets": 21, "work": 21}, unsent={"work": 19.5}))
    assert known.until == {"ticket": at(10)}, "what the timers said is unsent"


def test_saying_that_all_has_fired_means_nothing_while_a_sweep_waits_for_its_feeds() -> None:
    known = step(Watermarks(), TWO, look(10, {"tickets": 9, "work": 9}))
    assert fired(known) == known


def test_a_silent_feed_holds_for_ten_minutes_and_what_follows_is_marked() -> None:
    begun = step(Watermarks(), ONE, look(10, {"tickets": 1}))
    almost = step(begun, ONE, look(9 + PATIENCE.total_seconds(), {"tickets": 1}))
    assert almost.until == {}
    past = step(almost, ONE, look(10 + PATIENCE.total_seconds(), {"tickets": 1}))
    assert (past.until, past.marked) == ({"ticket": at(10)}, {"ticket"})


def test_a_topic_nobody_has_read_yet_holds_like_a_silent_feed() -> None:
    begun = step(Watermarks(), ONE, look(10, {}))
    assert step(begun, ONE, look(20, {})).until == {}
    assert step(begun, ONE, look(10 + PATIENCE.total_seconds(), {})).marked == {"ticket"}


def test_a_mark_goes_when_the_feed_moves_again() -> None:
    silent = step(step(Watermarks(), ONE, look(0, {"tickets": -5})), ONE, look(PATIENCE.total_seconds(), {"tickets": -5}))
    assert silent.marked == {"ticket"}
    assert step(silent, ONE, look(700, {"tickets": 690})).marked == frozenset()


def test_a_relay_that_sends_nothing_for_ten_minutes_no_longer_holds() -> None:
    late = 13 + PATIENCE.total_seconds()
    known = step(climbed(), TWO, look(13, {"tickets": 12, "work": 12}, unsent={"work": 12.5}))
    known = step(known, TWO, look(late - 1, {"tickets": late, "work": late}, unsent={"work": 12.5}))
    known = step(known, TWO, look(late, {"tickets": late, "work": late}, unsent={"work": 12.5}))
    assert "job" not in known.until
    known = step(known, TWO, look(late + 1, {"tickets": late + 1, "work": late + 1}, unsent={"work": 12.5}))
    assert (known.until["job"], known.marked) == (at(10), {"job"})
