"""The process under test: `python -m tests.chaos.child`, told everything by `CHAOS_*` variables; the App on its real adapters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec

import anyio

from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.memory_telemetry import MemoryTelemetry
from stream.adapters.postgres.connection import QUERIES, Connection, PostgresSettings
from stream.adapters.postgres.outbox import PostgresOutbox
from stream.adapters.postgres.statements import statements
from stream.adapters.postgres.store import PostgresStore
from stream.adapters.postgres.timetable import Ages, PostgresTimetable
from stream.core.changes import Changes
from stream.core.errors import FencedError, UnavailableError
from stream.core.order import Claim, Retry
from stream.core.record import Ref
from stream.ports import Outgoing
from stream.runtime.app import Parts, carrying, run
from stream.runtime.doors import Lines
from stream.runtime.logs import configure
from stream.runtime.settings import Settings
from tests.chaos.app import NAMES, app
from tests.chaos.failpoints import arm, fuse_of

NUMBERS = ("SESSION", "LEASE", "SEND", "BATCH")
AUDIT = {**QUERIES, **statements("tests.chaos", "audit.sql")}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How a process runs: as `stream run` would, but for the session, which is short so that a dead one is missed soon, and an added partition found.

    `lease`: seconds a relay holds its shards; `send`: after how many it gives up a producer that gets no answer.
    """

    name: str
    kafka: str
    dsn: str
    roles: tuple[str, ...] = ("worker", "relay", "ticker")
    session: float = 6.0
    lease: float = 6.0
    send: float = 30.0
    batch: int = 500

    def variables(self, tag: str) -> dict[str, str]:
        """The environment by which `setup()` of the process makes the same value again."""
        said = {"NAME": self.name, "KAFKA": self.kafka, "DATABASE_URL": self.dsn, "ROLES": ",".join(self.roles), "TAG": tag}
        return {f"CHAOS_{k}": v for k, v in {**said, **{k: str(getattr(self, k.lower())) for k in NUMBERS}}.items()}

    @property
    def kafka_settings(self) -> KafkaSettings:
        # The client id and the application name tell a wire whose connection it carries.
        beat = self.session / 6
        return KafkaSettings(bootstrap=self.kafka, client_id=self.name, session=self.session, heartbeat=beat, send=self.send, metadata=self.session)

    @property
    def postgres_settings(self) -> PostgresSettings:
        return PostgresSettings(dsn=self.dsn, application=self.name)

    @property
    def settings(self) -> Settings:
        return Settings(group=NAMES.group, roles=self.roles, relay_lease=self.lease, batch=self.batch, drain=10.0)


def setup() -> Setup:
    said = os.environ
    return Setup(
        name=said["CHAOS_NAME"],
        kafka=said["CHAOS_KAFKA"],
        dsn=said["CHAOS_DATABASE_URL"],
        roles=tuple(said["CHAOS_ROLES"].split(",")),
        session=float(said["CHAOS_SESSION"]),
        lease=float(said["CHAOS_LEASE"]),
        send=float(said["CHAOS_SEND"]),
        batch=int(said["CHAOS_BATCH"]),
    )


class NoTelemetry(MemoryTelemetry):
    """Trace ids travel in headers, where the oracles read them; the spans themselves are not kept."""

    def processed(self, claim: Claim, changes: Changes, began: int, ended: int) -> None: ...

    def sent(self, batch: Sequence[Outgoing], began: int, ended: int, error: str = "") -> None: ...


def parts(given: Setup) -> Parts:
    kafka, postgres, telemetry = given.kafka_settings, given.postgres_settings, NoTelemetry()
    return Parts(
        store=lambda: PostgresStore(postgres),
        log=lambda: KafkaLog(kafka),
        publisher=lambda: KafkaPublisher(kafka),
        outbox=lambda: PostgresOutbox(postgres),
        timetable=lambda: PostgresTimetable(postgres, Ages(horizon=app.horizon)),
        telemetry=telemetry,
        sampling=telemetry.sampling,
    )


async def retry(given: Setup) -> None:
    """What an operator does when the handlers were mended: order every parked line to be tried again, once."""
    made = parts(given)
    store, rows, carry = (
        PostgresStore(given.postgres_settings),
        Connection(given.postgres_settings, AUDIT),
        carrying(app, given.settings, made.sampling),
    )
    retries = [Retry(Ref(r["machine"], r["entity_id"]), "operator", head=r["id"]) for r in await rows.fetch("parked")]
    for start in range(0, len(retries), 100):
        with suppress(UnavailableError, FencedError):
            await carry(Lines(retries[start : start + 100]), store, "")
    await store.close()
    await rows.close()


async def main() -> None:
    given = setup()
    if bug := os.environ.get("CHAOS_BUG"):
        # Only then: it brings the test framework along.
        from tests.chaos.bugs import plant

        plant(bug)
    made, fuse = parts(given), fuse_of(os.environ)
    await (retry(given) if given.roles == ("retry",) else run(app, given.settings, arm(made, fuse) if fuse else made))


if __name__ == "__main__":
    configure("json")
    anyio.run(main, backend_options={"use_uvloop": find_spec("uvloop") is not None})
