"""Notifications by the command line, and the whole way: a breach in the database arrives at a server that is there, and waits for one that is not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from stream.adapters.postgres.store import PostgresStore
from stream.core.errors import ConfigurationError
from stream.core.order import Fire
from stream.core.record import Ref
from stream.ops.notifications import read_notices
from stream.ops.parts import parts, tracing
from stream.ops.site import load_app, read_site
from stream.runtime.app import carrying, run
from stream.runtime.doors import Timers
from stream.runtime.settings import Settings
from stream.runtime.waiting import Stop
from tests.adapters.test_webhook import Target
from tests.ops.conftest import Stream, answer, play, record

START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
OWNERS = """[owners.guest]
people = ["ann"]
tell = [{{ webhook = "http://127.0.0.1:{port}/guest", secret = "GUEST_HOOK", private = {private} }}, {{ log = true }}]
"""


def told_app(folder: Path, named: str, port: int, private: str = "true") -> None:
    """The lamps, whose guest is told by a webhook."""
    path = folder / f"{named.partition(':')[0]}.py"
    text = path.read_text().replace("topics=(Topic", f"owners=parse_owners('''{OWNERS.format(port=port, private=private)}'''), topics=(Topic")
    path.write_text(text.replace("hours, opens", "hours, opens, parse_owners"))


async def breached(database: str, named: str) -> None:
    """A lamp that was lit three hours ago, and should have been out after two."""
    topic = next(iter(load_app(named).consumed))
    await play(database, named, [record(topic, 0, "lamp.on", b'{"lamp":"l1"}', "e1", START)])
    site = read_site()
    store = PostgresStore(site.postgres)
    try:
        due = Timers([Fire(Ref("lamp", "l1"), START + timedelta(hours=2))])
        await carrying(site.app, Settings(app=named), lambda trace_id: False)(due, store, "")
    finally:
        await store.close()


def listed(stream: Stream, *words: str) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", answer(stream("notifications", "list", *words, "-o", "json")))


async def test_a_breach_arrives_signed_at_its_owners_webhook_once(
    at_database: Stream, lamps: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, stop = Target(), Stop()
    server = await asyncio.start_server(target.handle, "127.0.0.1", 0)
    told_app(tmp_path, lamps, server.sockets[0].getsockname()[1])
    monkeypatch.setenv("GUEST_HOOK", "hush")
    await breached(database, lamps)
    site = read_site()

    async def until_told() -> None:
        while await read_notices(site, None, "waiting", 10):
            pass
        stop.set()

    with tracing(site) as telemetry, anyio.fail_after(30):
        async with server, anyio.create_task_group() as tasks:
            tasks.start_soon(until_told)
            await run(site.app, site.settings, parts(site, telemetry), ("notifier",), stop=stop)
    ((line, headers, body),) = target.asked
    assert (line, headers["webhook-signature"].startswith("v1,")) == ("POST /guest HTTP/1.1", True)
    assert (b'"type":"sla.breached"' in body, b'"entity_id":"l1"' in body) == (True, True)


def test_what_failed_is_listed_and_sent_again_or_cancelled_with_a_line_in_the_audit(
    at_database: Stream, lamps: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_app(tmp_path, lamps, 9)
    asyncio.run(breached(database, lamps))
    first, second = listed(at_database, "--status", "waiting")
    assert {(n["owner"], n["type"], n["channel"]) for n in (first, second)} == {
        ("guest", "sla.breached", "webhook"),
        ("guest", "sla.breached", "log"),
    }
    assert "guest" in at_database("status", "--no-lag").stdout.partition("owners not told")[2]
    assert at_database("notifications", "cancel", str(first["id"]), "--reason", "told by phone").exit_code == 0
    assert [n["id"] for n in listed(at_database, "--status", "cancelled")] == [first["id"]]
    again = at_database("notifications", "cancel", str(first["id"]), "--reason", "twice")
    assert (again.exit_code, "not there, or already sent" in again.stderr) == (1, True)
    assert at_database("notifications", "retry", str(first["id"]), str(second["id"]), "--reason", "after all").exit_code == 0
    assert len(listed(at_database, "--status", "waiting")) == 2
    orders = [(o["action"], o["reason"]) for o in cast("list[dict[str, Any]]", answer(at_database("audit", "list", "-o", "json")))]
    assert orders == [("notifications retry", "after all")] * 2 + [("notifications cancel", "told by phone")]
    shown = cast("dict[str, Any]", answer(at_database("notifications", "show", str(first["id"]), "-o", "json")))
    assert "sla.breached" in str(shown["body"])
    assert at_database("notifications", "show", "99").exit_code == 1


def test_owners_are_shown_with_their_people_and_how_they_are_told(at_database: Stream, lamps: str, database: str, tmp_path: Path) -> None:
    told_app(tmp_path, lamps, 9)
    topic = next(iter(load_app(lamps).consumed))
    told = [("lamp.on", b'{"lamp":"l1"}', "e1"), ("lamp.off", b'{"lamp":"l1"}', "e2")]
    asyncio.run(play(database, lamps, [record(topic, n, *one, START) for n, one in enumerate(told)]))
    (turn,) = cast("list[dict[str, Any]]", answer(at_database("owners", "-o", "json")))
    assert (turn["people"], turn["told"]) == (["ann"], ["http://127.0.0.1:9/...", "log"])


def test_a_key_that_is_not_set_is_said_at_the_start(at_database: Stream, lamps: str, tmp_path: Path) -> None:
    told_app(tmp_path, lamps, 9)
    found = at_database("run", "--role", "notifier")
    assert (found.exit_code, "GUEST_HOOK: owners.toml says that the key of a webhook is there" in found.stderr) == (2, True)


@pytest.mark.parametrize("key", ["whsec_%%%", "whsec_"])
def test_a_key_that_is_none_is_said_at_the_start(at_database: Stream, lamps: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    told_app(tmp_path, lamps, 9)
    monkeypatch.setenv("GUEST_HOOK", key)
    found = at_database("run", "--role", "notifier")
    assert (found.exit_code, "GUEST_HOOK: what follows whsec_ is no key in base64" in found.stderr) == (2, True)


def test_webhooks_are_trusted_by_the_file_that_is_set(lamps: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_WEBHOOK_CA_FILE", str(tmp_path / "ca.pem"))
    site = read_site()
    with tracing(site) as telemetry:
        telling = parts(site, telemetry).telling
    assert telling is not None
    with pytest.raises(ConfigurationError, match="no certificates to be read there"):
        telling.messengers()
