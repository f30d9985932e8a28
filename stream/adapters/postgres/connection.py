"""One connection to PostgreSQL, made anew when it breaks, with a deadline on everything."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import anyio
import asyncpg
import structlog

from stream.adapters.postgres.address import missing_files, read_address
from stream.adapters.postgres.failures import DRIVER_ERRORS, classify, unconnected
from stream.adapters.postgres.statements import statements
from stream.core.errors import ConfigurationError, StreamError, UnavailableError
from stream.core.setting import setting, text, word, yes_or_no

_FILES = ("queries.sql", "publishing.sql", "setup.sql")
QUERIES: Mapping[str, str] = {k: v for file in _FILES for k, v in statements("stream.adapters.postgres", file).items()}

# For 500 keys in a table of 30,000 the planner would scan and hash the table: 31 ms instead of 6 (measured), and the more the larger it grows.
_KEYED = {"enable_hashjoin": "off", "enable_mergejoin": "off", "enable_seqscan": "off"}

# After a failover a connection may hang on to what is now a standby (25006), or to a server that is going down.
_GONE = ("08", "25006", "57P")

# Our side of what the server is told below: asked after half a minute of silence, given up after three unanswered questions.
_ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 15_000}


@dataclass(frozen=True, kw_only=True)
class PostgresSettings:
    """Where the database is, and how long anything may take, in seconds.

    `dsn` may name several hosts; the one that takes writes is used. `schema` belongs to one App and consumer group. `owner_dsn` is for making
    and moving things: the role of `dsn` owns nothing.
    """

    dsn: str = setting("postgresql://localhost/stream", word, name="database_url", secret=True)
    password: str = setting("", text, name="database_password", secret=True)
    owner_dsn: str = setting("", text, name="database_owner_url", secret=True)
    schema: str = setting("stream", word)
    allow_insecure: bool = setting(False, yes_or_no)
    application: str = "stream"
    connect: float = 5.0
    statement: float = 5.0
    lock: float = 2.0
    idle: float = 10.0
    transaction: float = 30.0

    def faults(self) -> Iterator[str]:
        """What is wrong with the URL, or would let what is stored travel in plain text beyond this machine."""
        yield from _faults("database_url", self.dsn, self.allow_insecure)
        if self.owner_dsn:
            yield from _faults("database_owner_url", self.owner_dsn, self.allow_insecure)

    def as_owner(self) -> PostgresSettings:
        """The same place as the schema's owner; as whoever `dsn` says where no owner is named."""
        return replace(self, dsn=self.owner_dsn, password="", owner_dsn="") if self.owner_dsn else self

    def check(self) -> None:
        """Raises `ConfigurationError` for what `faults` says: whoever made these by hand is told too, before anything is sent."""
        if faults := list(self.faults()):
            raise ConfigurationError("; ".join(faults))


def _faults(name: str, dsn: str, allow_insecure: bool) -> Iterator[str]:
    try:
        address = read_address(dsn)
    except ValueError as error:
        yield f"{name}: it {error}"
        return
    yield from (f"{name}: {fault}" for fault in missing_files(address))
    if address.exposed and not allow_insecure:
        way = f"{address.exposed} is not this machine and sslmode={address.mode} may be plain text"
        yield f"{name}: {way}: say sslmode=verify-full in it, or allow_insecure=true where nobody else can listen in"


class _Link(asyncpg.Connection):
    def wire(self) -> socket.socket | None:
        found: socket.socket | None = self._transport.get_extra_info("socket")
        return found

    def keep_alive(self) -> None:
        """Have the kernel notice a server that is gone, also between statements: the driver asks for nothing, and the default waits two hours."""
        wire = self.wire()
        if wire is None or wire.family not in (socket.AF_INET, socket.AF_INET6):
            return
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _ALIVE.items():
            # Not every system has each of them.
            if hasattr(socket, name):
                wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Connection:
    """A connection of its own for one lane, relay or ticker: never shared between tasks.

    Raises only `StreamError`s for what the database does: see `failures`. `queries` are the named statements it knows. `keyed`: all of them
    look rows up by keys, so each plan is a loop over an index.
    """

    def __init__(self, settings: PostgresSettings, queries: Mapping[str, str] = QUERIES, *, keyed: bool = False) -> None:
        self.settings = settings
        self.queries = queries
        self._planner = _KEYED if keyed else {}
        self._link: _Link | None = None
        self._work: Work | None = None

    async def fetch(self, name: str, *args: object) -> list[asyncpg.Record]:
        """The rows of a named statement."""
        try:
            return await (await self._linked()).fetch(self.queries[name], *args)
        except DRIVER_ERRORS as error:
            raise self._known(error) from None

    async def execute(self, name: str, *args: object) -> int:
        """How many rows a named statement touched."""
        status = await self.script(self.queries[name], *args)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def script(self, text: str, *args: object) -> str:
        """Several statements without arguments, or one with; the status of the last."""
        try:
            return await (await self._linked()).execute(text, *args)
        except DRIVER_ERRORS as error:
            raise self._known(error) from None

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is None or link.is_closed():
            return
        try:
            await link.close(timeout=1.0)
        except DRIVER_ERRORS:
            link.terminate()

    def discard(self) -> None:
        """Throw the connection away as it is; the server rolls back what was open."""
        link, self._link, self._work = self._link, None, None
        if link is not None:
            link.terminate()

    @asynccontextmanager
    async def transaction(self, begin: str = "begin") -> AsyncGenerator[Work]:
        """BEGIN, then COMMIT, or ROLLBACK when the body raises. An unknown COMMIT is asked for until it is known."""
        await self._linked()
        work = self._work = Work()
        try:
            await self.execute(begin)
            yield work
        except BaseException:
            await self._roll_back()
            raise
        await self._commit(work)

    async def _commit(self, work: Work) -> None:
        try:
            # COMMIT must not be cut short: nobody would know what became of it.
            with anyio.CancelScope(shield=True):
                await self.execute("commit")
            self._work = None
        except UnavailableError:
            self.discard()
            # This may take a minute, and may be cut short: whoever does the work again is told by the fence what became of it.
            if not work.xid:
                raise
            outcome = await self._outcome(work.xid)
            structlog.get_logger("stream").warning("COMMIT got no answer", outcome=outcome)
            if outcome != "committed":
                raise
        except BaseException:
            self.discard()
            raise

    async def _outcome(self, xid: str) -> str:
        """What became of a transaction whose COMMIT got no answer; waits for it, and for the database, up to a minute."""
        ends = anyio.current_time() + 60
        while anyio.current_time() < ends:
            try:
                status = (await self.fetch("outcome", xid))[0]["status"]
            except UnavailableError:
                status = "in progress"
            if status != "in progress":
                return str(status or "unknown")
            await anyio.sleep(0.1)
        return "unknown"

    async def _roll_back(self) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await self.execute("rollback")
                self._work = None
            except StreamError:
                self.discard()
            except BaseException:
                self.discard()
                raise

    async def _linked(self) -> _Link:
        if self._link is not None and not self._link.is_closed():
            return self._link
        # Inside a transaction a new connection would carry on without one, and commit half a batch.
        if self._work is not None:
            raise UnavailableError("the database closed the connection within a transaction")
        self._link = None
        try:
            self._link = await self._connect()
        except DRIVER_ERRORS as error:
            raise unconnected(error) from None
        return self._link

    async def _connect(self) -> _Link:
        given = self.settings
        given.check()
        link = await asyncpg.connect(
            given.dsn,
            connection_class=_Link,
            password=given.password or None,
            timeout=given.connect,
            # Longer than the server's own limit, so that its answer, with a SQLSTATE, comes first.
            command_timeout=given.statement + 2,
            target_session_attrs="read-write",
            server_settings={
                "application_name": given.application,
                "search_path": f'"{given.schema}"',
                "timezone": "UTC",
                "statement_timeout": f"{given.statement}s",
                "lock_timeout": f"{given.lock}s",
                "idle_in_transaction_session_timeout": f"{given.idle}s",
                "tcp_keepalives_idle": "30",
                "tcp_user_timeout": "15000",
                # Plans made while tables are empty would go on scanning them when they have grown.
                "plan_cache_mode": "force_custom_plan",
                "jit": "off",
                **self._planner,
            },
        )
        link.keep_alive()
        try:
            if link.get_server_version() >= (17,):
                # A client frozen between preparing a statement and executing it is not idle, and no statement is under way: no other limit
                # ends its transaction, and with it its locks. Servers before 17 know no such limit.
                await link.execute(QUERIES["limit_transaction"], f"{max(given.transaction, given.statement)}s")
        except BaseException:
            link.terminate()
            raise
        return link

    def _known(self, error: BaseException) -> StreamError:
        """Ours for theirs; a connection that may be half-way through something is thrown away."""
        gone = not isinstance(error, asyncpg.PostgresError) or str(error.sqlstate).startswith(_GONE)
        if gone and self._link is not None:
            self._link.terminate()
        return classify(error)


@dataclass(slots=True)
class Work:
    """An open transaction: its id, once it is known, is what an unknown COMMIT is asked by."""

    xid: str = ""
