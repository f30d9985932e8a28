"""What every `Notices` promises: written with the state, given to one at a time, and kept until it was sent or given up."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stream.core.changes import Changes, Notice
from stream.ports.notices import Delivery, Fate, Leased, Notices
from tests.conformance.storage import JOB, Storage

TTL, NOW = timedelta(seconds=60), timedelta(0)
SENT, NEVER = Delivery(Fate.SENT), Delivery(Fate.NEVER, "answered 410")


def notice(n: int, target: str = "https://a.example/") -> Notice:
    return Notice(JOB, "lead", "webhook", target, "KEY", False, "sla.breached", b'{"n":%d}' % n, f"m-{n}.0", "c-1")


async def wrote(storage: Storage, *notices: Notice, fails: bool = False) -> None:
    store = storage.store()
    async with store.transaction() as tx:
        await tx.claim_orders("desk", ())
        await tx.save(Changes(notices=list(notices)))
        if fails:
            raise RuntimeError("not committed")


async def leased(notices: Notices, ttl: timedelta = TTL, limit: int = 10, busy: tuple[str, ...] = ()) -> list[str]:
    return [one.notice.key for one in await notices.lease(ttl, limit, busy)]


async def test_a_notice_comes_back_as_it_was_written(storage: Storage) -> None:
    await wrote(storage, notice(1))
    (found,) = await storage.notices().lease(TTL, 10, ())
    assert (found.notice, found.attempt) == (notice(1), 1)


async def test_what_was_not_committed_is_told_to_nobody(storage: Storage) -> None:
    with pytest.raises(RuntimeError):
        await wrote(storage, notice(1), fails=True)
    assert await leased(storage.notices()) == []


async def test_nobody_else_is_given_a_notice_while_somebody_has_it(storage: Storage) -> None:
    await wrote(storage, notice(1), notice(2), notice(3))
    one, other = storage.notices(), storage.notices()
    assert await leased(one, limit=2) == ["m-1.0", "m-2.0"]
    assert await leased(other) == ["m-3.0"]
    assert await leased(one) == []


async def test_what_a_dead_sender_had_is_given_to_the_next_one_under_the_same_key(storage: Storage) -> None:
    await wrote(storage, notice(1))
    (first,) = await storage.notices().lease(NOW, 10, ())
    (second,) = await storage.notices().lease(TTL, 10, ())
    assert (second.notice, second.attempt) == (first.notice, 2)


async def test_what_was_sent_is_not_sent_again(storage: Storage) -> None:
    await wrote(storage, notice(1))
    notices = storage.notices()
    (one,) = await notices.lease(NOW, 10, ())
    await notices.settle(one, SENT)
    assert await leased(notices) == []


async def test_what_will_never_arrive_is_not_tried_again(storage: Storage) -> None:
    await wrote(storage, notice(1))
    notices = storage.notices()
    (one,) = await notices.lease(NOW, 10, ())
    await notices.settle(one, NEVER)
    assert await leased(notices) == []


async def test_what_did_not_arrive_waits_before_it_is_tried_again(storage: Storage) -> None:
    await wrote(storage, notice(1))
    notices = storage.notices()
    (one,) = await notices.lease(NOW, 10, ())
    await notices.settle(one, Delivery(Fate.AGAIN, "away", timedelta(hours=1)))
    assert await leased(notices) == []


async def test_of_a_sender_that_was_given_up_only_success_is_believed(storage: Storage) -> None:
    await wrote(storage, notice(1), notice(2))
    notices = storage.notices()
    late: list[Leased] = list(await notices.lease(NOW, 10, ()))
    again = await notices.lease(NOW, 10, ())
    await notices.settle(late[0], NEVER)
    await notices.settle(late[1], SENT)
    assert await leased(notices) == [again[0].notice.key]


async def test_targets_that_are_busy_are_left_out(storage: Storage) -> None:
    await wrote(storage, notice(1), notice(2, "https://b.example/"))
    assert await leased(storage.notices(), busy=("https://a.example/",)) == ["m-2.0"]
