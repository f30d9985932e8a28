"""What must be so before anything starts: the schema's version, whose it is, and the rights of this role."""

from __future__ import annotations

from stream.adapters.postgres.connection import Connection, PostgresSettings
from stream.adapters.postgres.migrate import known
from stream.core.errors import ConfigurationError

_GRANT = "run `stream migrate --grant ROLE` as the schema's owner"


async def check(settings: PostgresSettings, *, app: str, group: str) -> None:
    """Raises `ConfigurationError` with one line that says what to do. The first start writes down whose schema it is."""
    connection = Connection(settings)
    try:
        await _check_version(connection)
        await _check_role(connection)
        await _check_rights(connection)
        await _check_owner(connection, app, group)
    finally:
        await connection.close()


async def _check_version(connection: Connection) -> None:
    schema = connection.settings.schema
    if await connection.fetch("schema_closed", schema):
        raise ConfigurationError(f"the database role may not look into schema {schema!r}: {_GRANT}")
    if not (await connection.fetch("schema_exists"))[0]["there"]:
        raise ConfigurationError(f"there is no schema {schema!r} with our tables in the database: run `stream migrate`")
    applied = {r["number"]: r["checksum"] for r in await connection.fetch("schema_versions")}
    wanted = {m.number: m.checksum for m in known()}
    if set(applied) - set(wanted):
        raise ConfigurationError(f"schema {schema!r} is newer than this program (migration {max(applied)}): install the newer version")
    if set(wanted) - set(applied):
        raise ConfigurationError(f"schema {schema!r} is older than this program (migration {max(applied, default=0)}): run `stream migrate`")
    changed = sorted(n for n in wanted if applied[n] != wanted[n])
    if changed:
        raise ConfigurationError(f"migration {changed[0]} of schema {schema!r} is not the one this program knows: restore the file")


async def _check_rights(connection: Connection) -> None:
    missing = [r["t"] for r in await connection.fetch("missing_rights")]
    if missing:
        raise ConfigurationError(f"the database role may not write {', '.join(missing)}: {_GRANT}")


async def _check_role(connection: Connection) -> None:
    """A stream that was taken over must not be able to rewrite what it did."""
    excess = await connection.fetch("excess_rights")
    if excess:
        cure = "put another role into database_url (`create role stream_worker login password '...'`, then `stream migrate --grant stream_worker`)"
        raise ConfigurationError(
            f"the database role {excess[0]['what']}, which is more than a stream may: {cure}, and this one into database_owner_url for migrations"
        )


async def _check_owner(connection: Connection, app: str, group: str) -> None:
    await connection.execute("belongs", app, group)
    row = (await connection.fetch("belonging"))[0]
    if (row["app"], row["consumer_group"]) != (app, group):
        owner = f"belongs to app {row['app']!r}, group {row['consumer_group']!r}"
        raise ConfigurationError(f"schema {connection.settings.schema!r} {owner}: choose another schema, or the right group")
