"""Numbered plain-SQL migrations: each applied once, in order, under a lock, and never changed afterwards (its checksum is kept)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.resources import files

from stream.adapters.postgres.connection import QUERIES, Connection, PostgresSettings
from stream.core.errors import ConfigurationError


@dataclass(frozen=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return sha256(self.sql.encode()).hexdigest()


def known() -> list[Migration]:
    """The migrations of this version of the program, in order."""
    folder = files("stream.adapters.postgres").joinpath("migrations")
    found = sorted(f.name for f in folder.iterdir() if f.name.endswith(".sql"))
    return [Migration(int(name[:4]), name.removesuffix(".sql"), folder.joinpath(name).read_text(encoding="utf-8")) for name in found]


def text(role: str = "") -> str:
    """All of them as one script, for those who apply SQL themselves; it too notes what was applied, and gives `role` its rights."""
    parts = [QUERIES["schema_migration"] + ";"]
    for m in known():
        note = QUERIES["note_migration"].replace("$1", str(m.number)).replace("$2", f"'{m.name}'").replace("$3", f"'{m.checksum}'")
        parts += [m.sql, note + ";"]
    if role:
        parts.append(QUERIES["grant_worker"].replace("$1", "'{}'".format(role.replace("'", "''"))) + ";")
    return "\n".join(parts) + "\n"


async def pending(settings: PostgresSettings) -> list[Migration]:
    """What `apply` would do. Raises `ConfigurationError` when an applied migration is not the one this program knows."""
    connection = Connection(settings)
    try:
        return await _pending(connection, known())
    finally:
        await connection.close()


async def apply(settings: PostgresSettings, migrations: Sequence[Migration] | None = None) -> list[Migration]:
    """Apply what is pending, all or nothing; several at once wait for each other. Returns what was applied."""
    # Making an index on a grown table takes its time.
    connection = Connection(replace(settings, statement=600, lock=60, transaction=3600))
    try:
        async with connection.transaction("begin_plain"):
            await connection.fetch("migration_lock", settings.schema)
            await connection.execute("make_schema")
            await connection.execute("schema_migration")
            missing = await _pending(connection, known() if migrations is None else migrations)
            for migration in missing:
                await connection.script(migration.sql)
                await connection.execute("note_migration", migration.number, migration.name, migration.checksum)
            # Whoever was given a worker's rights gets those on what was added now.
            for row in await connection.fetch("granted") if missing else ():
                await connection.fetch("grant_worker", row["role"])
        return missing
    finally:
        await connection.close()


async def grant(settings: PostgresSettings, role: str) -> None:
    """Give a role what a stream needs and no more. Raises `ConfigurationError` when there is no such role, or no schema."""
    connection = Connection(settings)
    try:
        if not await connection.fetch("role", role):
            cure = f"`create role {role} login password '...'`"
            raise ConfigurationError(f"there is no role {role!r} in the database: make it first, by {cure}")
        await connection.fetch("grant_worker", role)
    finally:
        await connection.close()


async def _pending(connection: Connection, migrations: Sequence[Migration]) -> list[Migration]:
    if not (await connection.fetch("schema_exists"))[0]["there"]:
        return list(migrations)
    applied = {r["number"]: r["checksum"] for r in await connection.fetch("schema_versions")}
    for migration in migrations:
        if applied.get(migration.number, migration.checksum) != migration.checksum:
            raise ConfigurationError(f"migration {migration.name} was changed after it was applied: restore the file and add a new migration")
    return [m for m in migrations if m.number not in applied]
