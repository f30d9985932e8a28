"""The demo's second part: a ticket that was passed around, a task for the desk lead, a clock that runs out, a hook that is told, and an answer."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import anyio

from schemas import tickets as t
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.adapters.postgres.connection import QUERIES, Connection
from stream.core.codec import record_of
from stream.dev.stage import Stage
from stream.ports import Outgoing

TICKET = "T-9999"
TASK_OF = "select id from task where entity_id = $1 and status = 'open' and name like 'state %'"
LATER = timedelta(days=6)
"""Enough for four hours of the office, whatever holidays are on."""


class Hook:
    """A small web hook. `told` are the events that came with a signature that holds, each once: a repeat has the same `webhook-id`."""

    def __init__(self) -> None:
        self.key = secrets.token_urlsafe(16)
        self.told: dict[str, dict[str, Any]] = {}
        self.address = ""

    def hear(self, headers: Any, body: bytes) -> bool:
        """Whether it was signed by whom we know."""
        said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = "v1," + base64.b64encode(hmac.new(self.key.encode(), said, sha256).digest()).decode()
        if not hmac.compare_digest(headers["webhook-signature"] or "", expected):
            return False
        self.told.setdefault(headers["webhook-id"], json.loads(body))
        return True

    def about(self, type: str) -> dict[str, Any] | None:
        """What it was told of the demo's ticket under this type."""
        return next((event["data"] for event in self.told.values() if event["type"] == type and event["subject"] == TICKET), None)

    @contextmanager
    def listening(self) -> Generator[None]:
        """On a free port of this machine."""
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard = hook.hear(self.headers, self.rfile.read(int(self.headers["content-length"])))
                self.send_response(204 if heard else 401)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """The demo says what there is to say."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()


class Dispute:
    """A ticket changes hands four times. `run` gives the number of the task that this opens, once the hook knows that nobody answered it."""

    def __init__(self, stage: Stage, hook: Hook) -> None:
        self._stage, self._hook = stage, hook
        self._rows = Connection(stage.postgres, {**QUERIES, "task_of": TASK_OF})

    async def run(self) -> int:
        try:
            self._stage.start("notifier")
            await self._publish((await self._rows.fetch("time"))[0]["now"])
            await self._until_told("task.opened")
            await self._stage.set_clock((await self._rows.fetch("time"))[0]["now"] + LATER)
            await self._until_told("sla.breached")
            return int((await self._rows.fetch("task_of", TICKET))[0]["id"])
        finally:
            await self._rows.close()

    async def _publish(self, now: datetime) -> None:
        said: list[t.TicketEvent] = [t.TicketOpened(ticket_id=TICKET, title="the printer again", priority=3)]
        said += [t.TicketStarted(ticket_id=TICKET, assignee=name) for name in ("kim", "lee", "mo", "kim", "lee")]
        publisher = KafkaPublisher(self._stage.kafka)
        await publisher.start()
        try:
            records = [record_of(event, id=f"{TICKET}-{n}", source="/demo", time=now) for n, event in enumerate(said)]
            await publisher.publish(
                [Outgoing(n, r.topic, r.key or b"", r.value or b"", [(name, text or b"") for name, text in r.headers]) for n, r in enumerate(records)]
            )
        finally:
            await publisher.stop()

    async def _until_told(self, type: str) -> None:
        with anyio.fail_after(60):
            while not self._hook.about(type):
                self._stage.check()
                await anyio.sleep(0.1)
