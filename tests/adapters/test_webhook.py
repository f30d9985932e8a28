"""Webhooks on a real server: signed, judged by their answer, never sent on, and never to an address nobody meant."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from stream.adapters.webhook import WebhookMessenger, chosen, judged
from stream.core.changes import Notice
from stream.core.errors import ConfigurationError
from stream.core.record import Ref
from stream.ports.notices import Delivery, Fate, Leased
from tests.certificates import Authority

KEY = "whsec_" + base64.b64encode(b"0123456789abcdef").decode()
LEADS_HOME = ("::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:a00:1::1", "2002:7f00:1::1")
"""IPv6 addresses that hold a private IPv4 one."""
BODY = b'{"data":{"clock":"response"}}'


@dataclass
class Target:
    """A server that answers every request as told, and remembers what it was sent."""

    answer: bytes = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"
    silent: bool = False
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list[tuple[str, dict[str, str], bytes]])
    port: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in head[1:] if line)}
        self.asked.append((head[0], headers, await reader.readexactly(int(headers["content-length"]))))
        if self.silent:
            # Until the other side gives up.
            await reader.read()
        else:
            writer.write(self.answer)
        writer.close()


@pytest.fixture
async def target() -> AsyncGenerator[Target]:
    made = Target()
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


async def sent(
    port: int,
    *,
    path: str = "/lead?x=1",
    host: str = "localhost",
    private: bool = True,
    secret: str = "LEAD",
    limit: float = 5,
    scheme: str = "http",
    ca_file: str = "",
) -> Delivery:
    notice = Notice(Ref("ticket", "T-1"), "lead", "webhook", f"{scheme}://{host}:{port}{path}", secret, private, "sla.breached", BODY, "m-1.0", "c-1")
    messenger = WebhookMessenger({"LEAD": KEY, "PLAIN": "hush", "BROKEN": "whsec_%%%"}, ca_file=ca_file, limit=limit)
    try:
        return await messenger.send(Leased(1, 1, notice))
    finally:
        await messenger.close()


async def test_a_notice_is_posted_with_its_key_and_a_signature_that_holds(target: Target) -> None:
    assert await sent(target.port) == Delivery(Fate.SENT)
    ((line, headers, body),) = target.asked
    assert (line, body, headers["host"]) == ("POST /lead?x=1 HTTP/1.1", BODY, f"localhost:{target.port}")
    assert (headers["webhook-id"], headers["content-type"]) == ("m-1.0", "application/cloudevents+json")
    told = f"m-1.0.{headers['webhook-timestamp']}.".encode() + BODY
    assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.new(b"0123456789abcdef", told, hashlib.sha256).digest()).decode()


@pytest.mark.parametrize(
    ("name", "trusted", "fate"), [("localhost", True, Fate.SENT), ("elsewhere.example", True, Fate.AGAIN), ("localhost", False, Fate.AGAIN)]
)
async def test_a_certificate_must_be_of_that_name_and_by_a_known_authority(name: str, trusted: bool, fate: Fate, tmp_path: Path) -> None:
    made, authority = Target(), Authority(tmp_path, "authority")
    mine = authority.signed("server", name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(mine.cert, mine.key)
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0, ssl=context)
    async with server:
        found = await sent(server.sockets[0].getsockname()[1], scheme="https", ca_file=str(authority.file) if trusted else "")
    assert (found.fate, len(made.asked)) == (fate, int(fate is Fate.SENT))
    assert fate is Fate.SENT or "CERTIFICATE_VERIFY_FAILED" in found.error


@pytest.mark.parametrize("file", ["/none/ca.pem", __file__])
def test_a_file_without_authorities_is_refused(file: str) -> None:
    with pytest.raises(ConfigurationError, match=f"webhook_ca_file={re.escape(file)}: no certificates to be read there"):
        WebhookMessenger({}, ca_file=file)


async def test_a_plain_secret_signs_too_and_a_broken_one_never_will(target: Target) -> None:
    assert (await sent(target.port, secret="PLAIN")).fate is Fate.SENT
    assert (await sent(target.port, secret="BROKEN")).fate is Fate.NEVER
    assert await sent(target.port, secret="OTHER") == Delivery(Fate.AGAIN, "OTHER is not set: there is no key to sign with")
    assert len(target.asked) == 1


async def test_an_answer_without_end_is_not_read(target: Target) -> None:
    target.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n" + b"x" * 100_000
    assert (await sent(target.port)).fate is Fate.SENT


async def test_a_redirect_is_not_followed(target: Target) -> None:
    target.answer = f"HTTP/1.1 302 Found\r\nlocation: http://localhost:{target.port}/other\r\ncontent-length: 0\r\n\r\n".encode()
    found = await sent(target.port)
    assert (found.fate, "answered 302, to go elsewhere: that is not followed" in found.error) == (Fate.NEVER, True)
    assert len(target.asked) == 1


async def test_a_target_that_does_not_answer_is_tried_again(target: Target) -> None:
    target.silent = True
    found = await sent(target.port, limit=0.2)
    assert found.fate is Fate.AGAIN


async def test_a_target_that_is_down_or_speaks_otherwise_is_tried_again(target: Target) -> None:
    target.answer = b"SSH-2.0-OpenSSH_9.6\r\n"
    assert (await sent(target.port)).fate is Fate.AGAIN
    assert (await sent(1)).fate is Fate.AGAIN
    assert (await sent(target.port, host="no-such-host.invalid")).fate is Fate.AGAIN


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"])
async def test_a_private_address_is_refused_unless_it_is_meant(target: Target, host: str) -> None:
    found = await sent(target.port, host=host, private=False)
    assert (found.fate, "is a private address: if that is meant, owners.toml must say private = true" in found.error) == (Fate.NEVER, True)
    assert target.asked == []


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "172.16.0.1", "127.0.0.1", "fd00::1", "::1", "::ffff:10.0.0.1", "100.64.0.1", "fec0::1", *LEADS_HOME]
)
def test_private_addresses_are_known(address: str) -> None:
    assert chosen([address], private=True)
    with pytest.raises(ValueError, match="private address"):
        chosen(["93.184.216.34", address], private=False)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0", "::", "64:ff9b::a9fe:a9fe"])
def test_some_addresses_are_nobodys(address: str) -> None:
    with pytest.raises(ValueError, match="no address to be told at"):
        chosen([address], private=True)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "64:ff9b::808:808"])
def test_the_connection_goes_to_the_address_that_was_judged(address: str) -> None:
    assert str(chosen([address], private=False)) == address


@pytest.mark.parametrize(("status", "fate"), [(200, "sent"), (202, "sent"), (301, "never"), (400, "never"), (404, "never"), (410, "never")])
def test_what_is_final(status: int, fate: str) -> None:
    assert judged(status, {}).fate == fate


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_what_may_pass(status: int) -> None:
    assert judged(status, {}) == Delivery(Fate.AGAIN, f"answered {status}")


def test_a_target_may_ask_for_time_within_bounds() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    waits = [
        judged(503, {"retry-after": said}).wait for said in ("120", "999999999", "soon", "-5", format_datetime(datetime(2000, 1, 1, tzinfo=UTC)))
    ]
    assert waits == [timedelta(minutes=2), timedelta(hours=1), timedelta(0), timedelta(0), timedelta(0)]
    assert timedelta(minutes=9) < judged(429, {"retry-after": later}).wait <= timedelta(minutes=10)
