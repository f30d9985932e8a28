"""By what an event is known again, and ids that come out the same after every retry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from stream.core.event import Event
from stream.core.identity import content_of, digest, emitted_id, identity_of, natural_identity
from stream.core.record import Ref

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CALL = Ref("call", "1")


class Then(Event, type="door.shut", topic="doors", key="door"):
    door: str
    hard: bool = False


class Now(Event, type="door.shut", topic="doors", key="door"):
    """`Then`, grown by two fields with defaults, and in another order."""

    by: str | None = None
    hard: bool = False
    door: str
    marks: tuple[str, ...] = ()


class Bare(Event, type="door.shut", topic="doors", key="door"):
    """Before it had any field with a default."""

    door: str


@pytest.mark.parametrize("hard", [False, True])
def test_a_field_added_with_a_default_changes_no_content(hard: bool) -> None:
    assert content_of("t", "s", Then(door="a", hard=hard)) == content_of("t", "s", Now(door="a", hard=hard))


def test_the_first_field_with_a_default_changes_no_content() -> None:
    assert content_of("t", "s", Bare(door="a")) == content_of("t", "s", Then(door="a"))


def test_type_subject_and_every_field_are_content() -> None:
    event = Now(door="a")
    others = [content_of("t", "s", e) for e in (Now(door="b"), Now(door="a", by="x"), Now(door="a", marks=("",)), Now(door="a", hard=True))]
    others += [content_of("u", "s", event), content_of("t", "r", event)]
    assert len({content_of("t", "s", event), *others}) == 7


def test_parts_that_join_to_one_text_are_told_apart() -> None:
    assert identity_of("ab", "c") != identity_of("a", "bc")
    assert digest("ab", "c") != digest("a", "bc")
    assert natural_identity("t", ["ab", "c"]) != natural_identity("t", ["a", "bc"])
    assert natural_identity("t", ["1"]) != natural_identity("t", [1])


@pytest.mark.parametrize("id", ["019ca8e1-2b00-7abc-8def-0123456789ab", "019CA8E1-2B00-7ABC-8DEF-0123456789AB", "01KJME2AR01234567890ABCDEF"])
def test_an_id_that_carries_a_time_gives_its_identity_that_prefix(id: str) -> None:
    assert identity_of("/s", id)[:6] == bytes.fromhex("019ca8e12b00")
    assert identity_of("/s", id) != identity_of("/r", id)


def test_an_id_without_a_time_is_all_hash() -> None:
    assert identity_of("/s", "019ca8e1-2b00-4abc-8def-0123456789ab")[:6] != bytes.fromhex("019ca8e12b00")


def test_an_emitted_id_is_a_uuid7_of_its_time_and_the_same_every_time() -> None:
    made = UUID(emitted_id(b"i" * 16, CALL, 0, NOW))
    assert (made.version, made.variant, made.int >> 80) == (7, "specified in RFC 4122", int(NOW.timestamp() * 1000))
    assert str(made) == emitted_id(b"i" * 16, CALL, 0, NOW)


def test_every_part_of_its_cause_makes_another_emitted_id() -> None:
    given_ = [
        (b"i" * 16, CALL, 0, NOW),
        (b"j" * 16, CALL, 0, NOW),
        (b"i" * 16, Ref("call", "2"), 0, NOW),
        (b"i" * 16, Ref("cal", "l1"), 0, NOW),
        (b"i" * 16, CALL, 1, NOW),
        (b"i" * 16, CALL, 0, NOW + timedelta(milliseconds=1)),
    ]
    assert len({emitted_id(*parts) for parts in given_}) == len(given_)


@pytest.mark.parametrize("time", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
def test_no_time_is_out_of_range_for_an_emitted_id(time: datetime) -> None:
    assert UUID(emitted_id(b"", CALL, 0, time)).version == 7
