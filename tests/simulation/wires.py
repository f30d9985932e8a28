"""The adapters as a program sees them: over a wire that loses requests and replies, from servers that outlive it.

Each public method of an adapter goes by `Program.call`, also those added later; only what needs more than that is written here by hand: COMMIT,
whose outcome may be unknown for a while, sends that may land later or in part, and membership in a group, which ends by silence.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, TypeVar, cast

from stream.adapters.memory_log import MemoryLog
from stream.core.changes import Changes
from stream.core.errors import UnavailableError, UncertainError
from stream.core.order import Claim
from stream.core.record import TopicPartition
from stream.ports import Assignment, Outgoing, Publisher, Refusal, Round, Slice, Transaction
from stream.ports.notices import Delivery, Fate, Leased
from tests.simulation.app import handlers
from tests.simulation.program import LAST, Program

P = TypeVar("P")
Act = Callable[[], Awaitable[Any]]


class Wired:
    """A stand-in for an adapter, on the program's side of the wire."""

    server = "database"

    def __init__(self, inner: Any, program: Program) -> None:
        self.inner, self.program = inner, program

    async def go(self, name: str, act: Act) -> Any:
        if self.program.dead and name in LAST:
            return None
        if self.server == "database" and self.program.servers.busy():
            return await self.program.call(self.server, name, lambda: self._queued(act))
        # A fetch that failed leaves the position where it was: so its reply is never lost after it has moved.
        return await self.program.call(self.server, name, act, replies=name != "fetch")

    async def _queued(self, act: Act) -> Any:
        """The server waits for its turn: a client that freezes meanwhile holds up nobody."""
        loop = self.program.loop

        async def serve() -> Any:
            return await act()

        served = loop.create_task(serve(), context=loop.outside.context)
        # Who asked may be gone by then, and with it whoever would hear of an error.
        served.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(served)


_made: dict[tuple[type, type], type] = {}


def wired(inner: P, program: Program, by: type[Wired] = Wired, **given: object) -> P:
    """A stand-in for `inner`: what `by` does not write itself is a plain call. `given`: attributes that `by` declares."""
    kind = type(inner)
    stand_in = _made.get((kind, by))
    if stand_in is None:
        found = [(name, member) for name, member in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_" and not hasattr(by, name)]
        stand_in = _made[kind, by] = type(f"Wired{kind.__name__}", (by,), {name: _passed_on(name, member) for name, member in found})
    made = stand_in(inner, program)
    for name, value in given.items():
        setattr(made, name, value)
    return cast("P", made)


def _passed_on(name: str, member: Callable[..., Any]) -> Callable[..., Any]:
    def plain(self: Wired, *args: Any, **named: Any) -> Any:
        return member(self.inner, *args, **named)

    async def call(self: Wired, *args: Any, **named: Any) -> Any:
        return await self.go(name, lambda: member(self.inner, *args, **named))

    return call if inspect.iscoroutinefunction(member) else plain


class Post:
    """Carries notices to owners, who live elsewhere: what was told is told, also where nobody hears of it. See `ports.notices.Messenger`."""

    def __init__(self, told: Counter[str], program: Program) -> None:
        self._told, self._program = told, program

    async def send(self, leased: Leased) -> Delivery:
        try:
            await self._program.reach("tell")
            self._told[leased.notice.key] += 1
            await self._program.reach("tell.")
        except UnavailableError as error:
            return Delivery(Fate.AGAIN, str(error))
        return Delivery(Fate.SENT)

    async def close(self) -> None:
        """Nothing to let go of."""


# -- the database ----------------------------------------------------------------------------------------------------------------------


class Session:
    """The server's side of one transaction: it goes on without its client, and ends without it."""

    def __init__(self, context: AbstractAsyncContextManager[Transaction]) -> None:
        self._context = context
        self.ended = False
        self.slices: Sequence[Slice] = ()
        self.claim: Claim | None = None
        self.changes: Changes | None = None
        self.mended = False

    async def begin(self) -> Transaction:
        tx = await self._context.__aenter__()
        if self.ended:
            await self._leave(UnavailableError("nobody waits for it any more"))
        return tx

    async def end(self, error: BaseException | None) -> None:
        """Commit, or with an error roll back; nothing when it ended before."""
        if not self.ended:
            self.ended = True
            await self._leave(error)

    async def _leave(self, error: BaseException | None) -> None:
        with suppress(UnavailableError):
            await self._context.__aexit__(type(error) if error else None, error, None)


class Statements(Wired):
    """See `ports.Transaction`: what was claimed and saved is noted on the session."""

    session: Session

    async def go(self, name: str, act: Act) -> Any:
        async def within() -> Any:
            if self.session.ended:
                raise UnavailableError("the server ended the session")
            return await act()

        result = await self.program.call("database", name, within)
        if isinstance(result, Claim):
            self.session.claim = result
        return result

    async def claim_partitions(self, slices: Sequence[Slice]) -> Claim:
        self.session.slices = slices
        return cast("Claim", await self.go("claim", lambda: self.inner.claim_partitions(slices)))

    async def save(self, changes: Changes) -> None:
        self.session.changes, self.session.mended = changes, handlers.mended
        await self.go("save", lambda: self.inner.save(changes))


class WiredStore(Wired):
    """See `ports.Store`. `committed` is told of every transaction that took effect, whether its client hears of it or not."""

    committed: Callable[[Program, Session], None]

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Transaction]:
        program = self.program
        await program.reach("begin")
        await program.travel()
        program.servers.check("database")
        session = Session(self.inner.transaction())
        statements = wired(await self._opened(session), program, Statements, session=session)
        program.sessions.append(session)
        try:
            yield statements
            await self._commit(session)
        except BaseException as error:
            await session.end(error)
            raise
        finally:
            program.sessions.remove(session)

    async def _opened(self, session: Session) -> Transaction:
        """Begun by the server, which may have to wait for its turn, and gets it also while we are frozen."""
        loop = self.program.loop
        begun = loop.create_task(session.begin(), context=loop.outside.context)
        try:
            return await asyncio.shield(begun)
        except BaseException:
            if begun.done() and not begun.cancelled() and begun.exception() is None:
                await session.end(UnavailableError("cancelled"))
            session.ended = True
            raise

    async def _commit(self, session: Session) -> None:
        """An unknown outcome is resolved before this returns or raises, however long that takes."""
        program = self.program
        fault = program.fault("commit")
        if fault and fault.action != "landed":
            with suppress(UnavailableError):
                await program.suffer(fault)
            lost = fault.action == "lost"
        else:
            lost = False
        if lost or session.ended or "database" in program.servers.away:
            await session.end(UnavailableError("rolled back"))
            await program.take_time(0.01, 1.5)
            raise UnavailableError("COMMIT did not take effect")
        await session.end(None)
        self.committed(program, session)
        if fault and fault.action == "landed":
            await program.take_time(0.01, 1.5)
        await program.reach("commit.")


class WiredOutbox(Wired):
    """See `ports.Outbox`. `advanced` notes the shard and epoch of every round whose acknowledgement was taken down."""

    advanced: list[tuple[int, int]]

    async def advance(self, round: Round, *more: Any) -> None:
        async def note() -> None:
            await self.inner.advance(round, *more)
            self.advanced.append((round.shard, round.epoch))

        await self.go("advance", note)


# -- the broker ------------------------------------------------------------------------------------------------------------------------


class WiredPublisher(Wired):
    """See `ports.Publisher`: a send may land, in part or later, without anybody being told. `stamp` sets the broker's clock."""

    server = "broker"
    stamp: Callable[[], None]
    another: Callable[[], Publisher]

    async def publish(self, batch: Sequence[Outgoing]) -> Sequence[Refusal]:
        program = self.program
        fault = program.fault("publish")
        if fault and fault.action in ("crash", "freeze"):
            await program.suffer(fault)
        elif fault:
            await self._in_part(batch, fault.action)
            await self.inner.stop()
            raise UncertainError("no acknowledgement came")
        self.stamp()
        refused: Sequence[Refusal] = await self.inner.publish(batch)
        try:
            await program.reach("publish.")
            await program.travel()
        except UnavailableError:
            raise UncertainError("no acknowledgement came") from None
        return refused

    async def _in_part(self, batch: Sequence[Outgoing], how: str) -> None:
        self.stamp()
        if how == "landed":
            await self.inner.publish(batch)
        elif how == "part":
            await self.inner.publish(batch[: len(batch) // 2])
        elif how == "later":
            loop = self.program.loop
            self.program.servers.underway += 1
            loop.call_later(2.0 * loop.draw(), self._land, tuple(batch), context=loop.outside.context)
        await self.program.take_time(0.0, 0.5)

    def _land(self, batch: Sequence[Outgoing]) -> None:
        async def land() -> None:
            self.stamp()
            self.program.servers.underway -= 1
            with suppress(UncertainError):
                await self.another().publish(batch)

        self.program.loop.create_task(land())


class Told:
    """The assignment hears of partitions by the program's own loop: a frozen one later, when others may long have them."""

    def __init__(self, assignment: Assignment, program: Program) -> None:
        self._assignment, self._program = assignment, program

    def assigned(self, places: Collection[TopicPartition], generation: int) -> None:
        self._program.loop.call_soon(self._assignment.assigned, places, generation, context=self._program.context)

    def revoked(self, places: Collection[TopicPartition]) -> None:
        claimed = {cut.place for session in self._program.sessions if isinstance(session, Session) for cut in session.slices}
        if claimed & set(places):
            self._program.trace.count("rebalance with a batch in flight")
        self._program.loop.call_soon(self._assignment.revoked, places, context=self._program.context)


class WiredLog(Wired):
    """See `ports.Log`. `members`: the clients of this program the broker knows."""

    server = "broker"
    members: list[MemoryLog]

    async def start(self, topics: Collection[str], group: str, assignment: Assignment) -> None:
        async def begin() -> None:
            await self.inner.start(topics, group, Told(assignment, self.program))
            self.members.append(self.inner)

        await self.program.call("broker", "start", begin)

    async def stop(self) -> None:
        if self.program.dead or self.inner not in self.members:
            return
        await self.program.reach("stop")
        self.members.remove(self.inner)
        await self.inner.stop()
