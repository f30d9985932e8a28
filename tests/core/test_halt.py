"""What makes a partition halt, what can be chosen then, and what each choice would pass over or repeat."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from stream.core.errors import ConfigurationError
from stream.core.halt import ANOTHER_LOG, Decision, Halt, HaltReason, Preview, Seen, Stand, choices, outside, preview, target
from stream.core.record import TopicPartition

R = HaltReason
T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
STAND = Stand(position=40, begin=10, end=90)
SEEN = {
    R.UNREADABLE_BATCH: Seen(40, batch_start=40, batch_end=45),
    R.REFUSED: Seen(40, offset=41, fault="22001"),
}


def halt(reason: HaltReason) -> Halt:
    return Halt(reason, SEEN.get(reason, Seen(40)), T0, "w1")


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (Seen(40, begin=10, end=90, topic_id="a", known_id="a"), None),
        (Seen(40, begin=40, end=40), None),
        (Seen(40, begin=41, end=90), R.OVERRUN),
        (Seen(40, begin=10, end=39), R.OFFSET_AHEAD),
        (Seen(40, begin=10, end=90, topic_id="b", known_id="a"), R.MADE_ANEW),
        (Seen(40, begin=0, end=3, topic_id="b", known_id="a"), R.MADE_ANEW),
        # Nothing was read of the one before, or its id was never seen.
        (Seen(0, begin=0, end=3, topic_id="b", known_id="a"), None),
        (Seen(40, begin=10, end=90, topic_id="b"), None),
    ],
)
def test_a_log_is_judged_by_its_id_and_its_ends(seen: Seen, reason: HaltReason | None) -> None:
    assert outside(seen) is reason


@pytest.mark.parametrize("reason", list(R))
def test_every_choice_that_is_offered_can_be_taken(reason: HaltReason) -> None:
    for choice in choices(halt(reason)):
        at = "50" if choice.at == "OFFSET" else choice.at
        assert STAND.begin <= target(halt(reason), at, STAND) <= STAND.end


@pytest.mark.parametrize(
    ("reason", "at", "offset"),
    [
        (R.OVERRUN, "begin", 10),
        (R.MADE_ANEW, "begin", 10),
        (R.TRUNCATED, "end", 90),
        (R.OFFSET_AHEAD, "77", 77),
        (R.PARTITION_ADDED, "", 40),
        (R.PARTITION_ADDED, "begin", 10),
        (R.UNREADABLE_BATCH, "", 40),
        (R.UNREADABLE_BATCH, "batch-end", 45),
        (R.UNREADABLE_BATCH, "60", 60),
        (R.REFUSED, "", 40),
        (R.REFUSED, "42", 42),
    ],
)
def test_a_choice_names_an_offset(reason: HaltReason, at: str, offset: int) -> None:
    assert target(halt(reason), at, STAND) == offset


@pytest.mark.parametrize(
    ("reason", "at", "said"),
    [
        *((reason, "", "cannot go on as it stands") for reason in (*sorted(ANOTHER_LOG), R.OVERRUN)),
        *((reason, "batch-end", "no batch is in the way") for reason in R if reason is not R.UNREADABLE_BATCH),
        (R.UNREADABLE_BATCH, "begin", "same place again"),
        (R.UNREADABLE_BATCH, "44", "same place again"),
        (R.REFUSED, "begin", "same place again"),
        (R.REFUSED, "41", "same place again"),
        (R.OVERRUN, "9", "holds offsets 10 up to 90"),
        (R.MADE_ANEW, "91", "holds offsets 10 up to 90"),
        (R.MADE_ANEW, "beginning", "say begin, end, batch-end or an offset"),
        (R.MADE_ANEW, "-1", "say begin, end, batch-end or an offset"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused_with_what_would(reason: HaltReason, at: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        target(halt(reason), at, STAND)


def test_trying_again_is_refused_where_the_record_is_gone_meanwhile() -> None:
    with pytest.raises(ConfigurationError, match="not in it"):
        target(halt(R.UNREADABLE_BATCH), "", Stand(position=40, begin=50, end=90))


@pytest.mark.parametrize(
    ("reason", "stand", "after", "expected"),
    [
        (R.UNREADABLE_BATCH, STAND, 45, Preview(40, 45, skipped=5, again=0, gone=0)),
        (R.PARTITION_ADDED, STAND, 30, Preview(40, 30, skipped=0, again=10, gone=0)),
        (R.OVERRUN, Stand(40, 60, 90), 60, Preview(40, 60, skipped=0, again=0, gone=20)),
        (R.OVERRUN, Stand(40, 60, 90), 90, Preview(40, 90, skipped=30, again=0, gone=20)),
        (R.MADE_ANEW, STAND, 10, Preview(40, 10, skipped=0, again=0, gone=0)),
        (R.TRUNCATED, STAND, 90, Preview(40, 90, skipped=80, again=0, gone=0)),
    ],
)
def test_a_preview_counts_what_is_skipped_repeated_and_gone(reason: HaltReason, stand: Stand, after: int, expected: Preview) -> None:
    assert preview(reason, stand, after) == expected


def test_a_decision_says_before_and_after_for_the_audit() -> None:
    decision = Decision(TopicPartition("jobs", 0), halt(R.UNREADABLE_BATCH), 40, 45, forget=False, actor="ann", reason="lost disk")
    before = msgspec.json.decode(decision.before())
    assert (before["position"], before["halt"]["reason"], before["halt"]["seen"]["batch_end"]) == (40, "unreadable_batch", 45)
    assert msgspec.json.decode(decision.after()) == {"position": 45, "forget": False}
