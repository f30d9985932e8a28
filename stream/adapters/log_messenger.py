"""Telling an owner by a line in the log."""

from __future__ import annotations

import msgspec
import structlog

from stream.ports.notices import Delivery, Fate, Leased


class LogMessenger:
    """See `ports.notices.Messenger`."""

    async def send(self, leased: Leased) -> Delivery:
        n = leased.notice
        told = msgspec.json.decode(n.body, type=dict[str, object])["data"]
        log = structlog.get_logger("stream")
        log.warning("owner told", owner=n.owner, type=n.type, machine=n.ref.machine, entity=n.ref.id, notice=n.key, told=told)
        return Delivery(Fate.SENT)

    async def close(self) -> None:
        """Nothing to let go of."""
