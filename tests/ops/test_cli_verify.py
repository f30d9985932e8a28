"""An operator's proof that outbox and topics agree: it holds where they do, and sees each way in which they may not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaProducer

from stream.core.record import TopicPartition
from stream.ports import Outgoing
from tests.forged import flipped, forging
from tests.ops.talk import Talk, ask, proof, renamed


@pytest.fixture
async def pots(quiet: Talk) -> Talk:
    """Two pots said three things each, and all of it was sent."""
    for n in range(3):
        await quiet.say("a", n)
        await quiet.say("b", n)
    await quiet.send()
    return quiet


async def test_it_holds_where_all_was_sent_and_counts_what_is_there(pots: Talk) -> None:
    await pots.put(*await pots.rows("a"))
    await pots.put(Outgoing(1, pots.told, b"c", b"{}", [("ce_id", b"somebody's")]))
    await pots.put(renamed((await pots.rows("a"))[0], ce_id="theirs", ce_source="/another/pot"))
    await pots.say("c", 1, 2)
    assert await pots.counts("messages", "unsent", "records", "repeats", "foreign", "unverifiable") == [8, 2, 9, 3, 2, 0]
    shown = await ask()
    assert (shown.exit_code, "outbox and topics agree" in shown.stdout) == (0, True)


async def test_a_message_that_was_noted_as_sent_and_is_not_there_is_missing(pots: Talk) -> None:
    await pots.say("a", 3)
    await pots.send(really=False)
    assert await pots.found() == [("missing", "a", 4)]
    shown = await ask()
    assert (shown.exit_code, f"missing: {pots.told}: message 7, pot/a number 4 under 'a'" in shown.stdout) == (1, True)
    assert "do not agree: 1 missing" in shown.stderr


async def test_a_message_nobody_committed_is_found(pots: Talk) -> None:
    last = (await pots.rows("a"))[-1]
    await pots.put(renamed(last, ce_id="forged", ce_sequence="4"))
    assert await pots.found() == [("uncommitted", "a", 4)]


async def test_a_message_whose_row_is_gone_is_found(pots: Talk) -> None:
    await pots.sql("delete from outbox where key = 'a' and seq = (select max(seq) from outbox where key = 'a')")
    assert await pots.found() == [("uncommitted", "a", 3)]


@pytest.mark.parametrize("header", [True, False])
async def test_a_repeat_that_says_something_else_is_changed(pots: Talk, header: bool) -> None:
    row = (await pots.rows("b"))[1]
    await pots.put(renamed(row, ce_time="1970-01-01T00:00:00Z") if header else Outgoing(row.seq, row.topic, row.key, b"{}", row.headers))
    assert await pots.found() == [("changed", "b", 2)]


async def test_first_arrivals_out_of_order_are_found(pots: Talk) -> None:
    await pots.say("c", 1, 2, 3)
    first, second, third = await pots.rows("c")
    await pots.put(first, third, second, first)
    await pots.send(really=False)
    assert await pots.found() == [("reordered", "c", 2)]


async def test_a_number_that_is_nowhere_is_a_gap(pots: Talk) -> None:
    await pots.say("c", 1, 2, 3)
    await pots.sql("delete from outbox where key = 'c' and seq = (select min(seq) + 1 from outbox where key = 'c')")
    await pots.send()
    assert await pots.found() == [("gap", "c", 2)]
    assert "number 2 is neither in the outbox nor on the topic" in (await ask()).stdout


async def test_a_last_number_that_is_nowhere_is_a_gap_as_its_entity_knows(pots: Talk) -> None:
    await pots.say("c", 1, 2, 3)
    await pots.sql("delete from outbox where key = 'c' and seq > (select min(seq) from outbox where key = 'c')")
    await pots.send()
    told = await proof()
    assert [(f["kind"], f["number"], f["seq"]) for f in told["findings"]] == [("gap", 2, 3)]


async def test_a_held_message_is_due_when_it_was_settled(pots: Talk) -> None:
    await pots.say("c", 1, 2)
    await pots.send(refuse="c")
    await pots.sql("update outbox_held set status = 'dropped' where seq = (select min(seq) from outbox_held)")
    assert await pots.counts("unsent", "held", "skipped") == [0, 1, 1]
    await pots.sql("update outbox_held set status = 'sent', settled_at = clock_timestamp() where status = 'open'")
    assert await pots.found() == [("missing", "c", 2)]


async def test_what_was_said_twice_under_one_number_is_found_though_the_outbox_is_too_young(pots: Talk) -> None:
    first = (await pots.rows("a"))[0]
    await pots.age()
    await pots.say("b", 4)
    await pots.send()
    assert await pots.counts("messages", "records", "unverifiable") == [2, 8, 6]
    await pots.put(renamed(first, ce_id="forged"))
    assert await pots.found() == [("reordered", "a", 1), ("twofold", "a", 1)]
    await pots.put(renamed(first, ce_id="beyond", ce_sequence="4"), renamed(first, ce_id="nobody", ce_emitter="pot/z"))
    assert sorted(await pots.found()) == [
        ("reordered", "a", 1),
        ("twofold", "a", 1),
        ("uncommitted", "a", 1),
        ("uncommitted", "a", 4),
    ]


async def test_a_message_without_a_row_is_found_where_an_older_row_of_its_lane_is_still_there(pots: Talk) -> None:
    await pots.age()
    await pots.say("a", 4, 5)
    await pots.send()
    await pots.sql("delete from outbox where seq = (select max(seq) from outbox)")
    assert await pots.found() == [("uncommitted", "a", 5)]


async def test_numbers_that_only_the_topic_could_still_have_are_a_gap(pots: Talk) -> None:
    await pots.say("c", 1, 2)
    await pots.send(really=False)
    await pots.age()
    told = await proof()
    assert [(f["kind"], f["key"], f["number"], f["seq"]) for f in told["findings"]] == [("gap", "c", 1, 2)]


async def test_what_a_topic_keeps_no_longer_is_unverifiable(pots: Talk) -> None:
    await pots.configure({"retention.ms": "1000"})
    await pots.cut()
    await pots.say("a", 4)
    await pots.send()
    assert await pots.counts("messages", "records", "unverifiable") == [7, 1, 6]


async def test_what_a_topic_should_still_keep_is_missing_unless_a_person_says_since_when(pots: Talk) -> None:
    await pots.cut()
    assert sorted(await pots.found()) == [("missing", pot, n) for pot in "ab" for n in (1, 2, 3)]
    later = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    assert await pots.found("--since", later) == []
    assert len(await pots.found("--since", "2026-01-01")) == 6


async def test_a_compacted_topic_proves_no_missing_message(pots: Talk) -> None:
    await pots.say("a", 4)
    await pots.send(really=False)
    await pots.configure({"cleanup.policy": "compact"})
    assert await pots.counts("messages", "records", "unverifiable") == [7, 6, 1]


async def test_a_batch_nobody_can_read_is_found_and_the_rest_is_read(pots: Talk) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=pots.kafka)
    await producer.start()
    with forging() as forger:
        await forger.append(producer, TopicPartition(pots.told, 0), flipped, 3)
        await pots.say("a", 4)
        await pots.say("b", 4)
        await pots.send()
        told = await proof()
    await producer.stop()
    assert [(f["kind"], f["partition"], f["seq"] - f["at"]) for f in told["findings"]] == [("unreadable", 0, 2)]


async def test_a_topic_that_the_app_has_forgotten_is_read_as_well(pots: Talk) -> None:
    other = f"old-{pots.told}"
    await pots.make(other)
    await pots.say("c", 1, topic=other)
    await pots.send(really=False)
    told = await proof()
    assert [(f["kind"], f["topic"], f["key"]) for f in told["findings"]] == [("missing", other, "c")]
    assert await pots.found("--topic", pots.told) == []


async def test_messages_for_a_topic_that_is_not_there_are_missing(pots: Talk) -> None:
    await pots.say("c", 1, topic="nowhere")
    await pots.send(really=False)
    assert await pots.found() == [("missing", "c", 1)]
    unknown = await ask("--topic", "nobody")
    assert (unknown.exit_code, "no topic nobody" in unknown.stderr) == (2, True)


async def test_fifty_findings_are_told_and_all_on_demand(pots: Talk) -> None:
    await pots.say("c", *range(60))
    await pots.send(really=False)
    assert (len(await pots.found()), len(await pots.found("--all"))) == (50, 60)
    assert "and 10 more" in (await ask()).stdout
