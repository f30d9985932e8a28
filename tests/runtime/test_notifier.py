"""The notifier on memory adapters: every notice arrives, one target's trouble is no other's, and a crash sends again under the same key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from stream.adapters.memory_database import MemoryDatabase, NoticeRow
from stream.adapters.memory_notices import MemoryNotices
from stream.core.changes import Notice
from stream.core.errors import UnavailableError
from stream.core.record import Ref
from stream.ports.notices import Delivery, Fate, Leased
from stream.runtime.notifier import TARGETS, TTL, Notifier, Telling
from stream.runtime.waiting import Stop, Waits

AWAY = Delivery(Fate.AGAIN, "away")


class Clock:
    """The database's, moved by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Post:
    """A messenger that answers as told, and remembers what it carried. `over` is called after each."""

    def __init__(self, answers: Callable[[Leased], Delivery], over: Callable[[Post], None]) -> None:
        self._answers, self._over = answers, over
        self.carried: list[str] = []
        self.gates: dict[str, anyio.Event] = {}
        self.flying: Counter[str] = Counter()

    async def send(self, leased: Leased) -> Delivery:
        target = leased.notice.target
        self.flying[target] += 1
        assert self.flying[target] == 1
        if gate := self.gates.get(target):
            await gate.wait()
        self.flying[target] -= 1
        self.carried.append(leased.notice.key)
        self._over(self)
        return self._answers(leased)

    async def close(self) -> None:
        """Nothing to let go of."""


def database(*targets: str) -> tuple[MemoryDatabase, Clock]:
    clock = Clock()
    made = MemoryDatabase(clock)
    for n, target in enumerate(targets, 1):
        notice = Notice(Ref("t", "1"), "lead", "webhook", target, "K", False, "x", b'{"data":{}}', f"k{n}", "c")
        made.notices[n] = NoticeRow(notice, clock(), clock())
    return made, clock


def when(count: int, stop: Stop) -> Callable[[Post], None]:
    def over(post: Post) -> None:
        if len(post.carried) >= count:
            stop.set()

    return over


async def run(db: MemoryDatabase, post: Post, stop: Stop, notices: Callable[[], MemoryNotices] | None = None) -> None:
    telling = Telling(notices=notices or (lambda: MemoryNotices(db)), messengers=lambda: {"webhook": post}, every=0.001)
    with anyio.fail_after(10):
        await Notifier(telling, stop, Waits()).run()


def statuses(db: MemoryDatabase) -> list[str]:
    return [row.status for row in db.notices.values()]


async def test_every_notice_is_carried_once() -> None:
    db, _ = database("a", "a", "b", "c", "a")
    stop = Stop()
    post = Post(lambda leased: Delivery(Fate.SENT), when(5, stop))
    await run(db, post, stop)
    assert sorted(post.carried) == ["k1", "k2", "k3", "k4", "k5"]
    assert statuses(db) == ["sent"] * 5


async def test_a_target_that_is_away_is_asked_once_a_round_and_holds_no_other() -> None:
    db, _ = database("a", "a", "a", "b")
    stop = Stop()
    post = Post(lambda leased: AWAY if leased.notice.target == "a" else Delivery(Fate.SENT), when(2, stop))
    await run(db, post, stop)
    assert sorted(post.carried) == ["k1", "k4"]
    assert statuses(db) == ["waiting", "waiting", "waiting", "sent"]


async def test_what_a_target_asks_to_wait_holds_for_all_that_was_taken_with_it() -> None:
    db, clock = database("a", "a")
    stop, asked = Stop(), Delivery(Fate.AGAIN, "answered 429", timedelta(minutes=30))

    class Ending(MemoryNotices):
        async def settle(self, leased: Leased, delivery: Delivery) -> None:
            await super().settle(leased, delivery)
            if leased.id == 2:
                stop.set()

    await run(db, Post(lambda leased: asked, lambda post: None), stop, lambda: Ending(db))
    assert [row.next for row in db.notices.values()] == [clock() + asked.wait] * 2


async def test_no_more_targets_are_asked_at_once_than_there_are_places() -> None:
    db, _ = database(*(f"t{n}" for n in range(3 * TARGETS)))
    stop, most = Stop(), [0]

    class Counting(Post):
        async def send(self, leased: Leased) -> Delivery:
            most[0] = max(most[0], self.flying.total() + 1)
            return await super().send(leased)

    post = Counting(lambda leased: Delivery(Fate.SENT), when(3 * TARGETS, stop))
    for n in range(3 * TARGETS):
        post.gates[f"t{n}"] = anyio.Event()

    async def open_gates() -> None:
        # All that can have begun has, before the first may end.
        while post.flying.total() < TARGETS:
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        for gate in post.gates.values():
            gate.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, db, post, stop)
        tasks.start_soon(open_gates)
    assert most[0] == TARGETS
    assert statuses(db) == ["sent"] * 3 * TARGETS


async def test_a_slow_target_holds_no_other_even_of_later_rounds() -> None:
    db, clock = database("slow", "b")
    stop, arrived = Stop(), anyio.Event()
    post = Post(lambda leased: Delivery(Fate.SENT), lambda post: arrived.set() if "k3" in post.carried else None)
    post.gates["slow"] = anyio.Event()

    async def later() -> None:
        db.notices[3] = NoticeRow(Notice(Ref("t", "1"), "lead", "webhook", "b", "K", False, "x", b"{}", "k3", "c"), clock(), clock())
        db.notices[4] = NoticeRow(Notice(Ref("t", "1"), "lead", "webhook", "slow", "K", False, "x", b"{}", "k4", "c"), clock(), clock())
        await arrived.wait()
        assert post.carried == ["k2", "k3"]
        stop.set()
        post.gates["slow"].set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, db, post, stop)
        tasks.start_soon(later)
    assert statuses(db) == ["sent", "sent", "sent", "waiting"]


async def test_what_was_sent_and_could_not_be_noted_is_sent_again_under_the_same_key() -> None:
    db, clock = database("a")
    stop = Stop()
    failures = [1]

    class Forgetful(MemoryNotices):
        async def settle(self, leased: Leased, delivery: Delivery) -> None:
            if failures:
                failures.pop()
                clock.now += TTL
                raise UnavailableError("gone")
            await super().settle(leased, delivery)

    post = Post(lambda leased: Delivery(Fate.SENT), when(2, stop))
    await run(db, post, stop, lambda: Forgetful(db))
    assert (post.carried, statuses(db)) == (["k1", "k1"], ["sent"])


@pytest.mark.parametrize(("age", "status"), [(timedelta(hours=23), "waiting"), (timedelta(hours=25), "failed")])
async def test_it_is_given_up_after_a_day(age: timedelta, status: str) -> None:
    db, clock = database("a")
    clock.now += age
    stop = Stop()
    await run(db, Post(lambda leased: AWAY, when(1, stop)), stop)
    assert statuses(db) == [status]


async def test_two_notifiers_carry_each_notice_once() -> None:
    db, _ = database(*(f"t{n % 5}" for n in range(40)))
    stop = Stop()
    carried: list[str] = []

    def over(post: Post) -> None:
        carried.append(post.carried[-1])
        if len(carried) >= 40:
            stop.set()

    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(run, db, Post(lambda leased: Delivery(Fate.SENT), over), stop)
    assert sorted(carried) == sorted(f"k{n}" for n in range(1, 41))
