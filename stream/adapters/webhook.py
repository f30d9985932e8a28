"""Telling an owner by a webhook: signed as the Standard Webhooks specification says, to an address that was looked at first.

A name may point anywhere, and point elsewhere a moment later. So it is resolved here, every address is judged, and the connection goes to one that
was; the certificate is still the name's.
"""

from __future__ import annotations

import base64
import hmac
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import anyio
import httpx

from stream.core.errors import ConfigurationError
from stream.ports.notices import Delivery, Fate, Leased

LIMIT = 10.0
"""Seconds for one attempt, whatever it hangs at."""
LONGEST_WAIT = timedelta(hours=1)
_AGAIN = frozenset({408, 425, 429})
_WITHIN = (IPv6Network("::/96"), IPv6Network("64:ff9b::/96"))
"""Where the last 32 bits are an IPv4 address."""


class WebhookMessenger:
    """See `ports.notices.Messenger`. `secrets` are keys by the name of their variable: `whsec_` and base64, or plain text.

    `ca_file` names authorities that are trusted beside the public ones. Raises `ConfigurationError` where it holds none.
    """

    def __init__(self, secrets: Mapping[str, str], *, ca_file: str = "", limit: float = LIMIT) -> None:
        self._secrets, self._limit = secrets, limit
        self._client = httpx.AsyncClient(verify=trusting(ca_file), follow_redirects=False, trust_env=False, timeout=limit)

    async def send(self, leased: Leased) -> Delivery:
        secret = self._secrets.get(leased.notice.secret, "")
        if not secret:
            return Delivery(Fate.AGAIN, f"{leased.notice.secret} is not set: there is no key to sign with")
        try:
            with anyio.fail_after(self._limit):
                return await self._post(leased, secret)
        except TimeoutError:
            return Delivery(Fate.AGAIN, f"no answer within {self._limit:g} s")
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            return Delivery(Fate.AGAIN, f"{type(error).__name__}: {error}")
        except (httpx.InvalidURL, ValueError) as error:
            return Delivery(Fate.NEVER, str(error))

    async def _post(self, leased: Leased, secret: str) -> Delivery:
        notice, url = leased.notice, httpx.URL(leased.notice.target)
        port = url.port or (443 if url.scheme == "https" else 80)
        address = chosen(await _addresses(url.host, port), private=notice.private)
        headers = {
            "host": url.netloc.decode("ascii"),
            "content-type": "application/cloudevents+json",
            "user-agent": "opstream",
            **signed(secret, notice.key, int(time.time()), notice.body),
        }
        asked = self._client.stream(
            "POST", url.copy_with(host=str(address)), content=notice.body, headers=headers, extensions={"sni_hostname": url.host}
        )
        # What the answer says beyond its status is not read.
        async with asked as answer:
            return judged(answer.status_code, answer.headers)

    async def close(self) -> None:
        await self._client.aclose()


def trusting(ca_file: str) -> ssl.SSLContext:
    """The public authorities, and those of the file, if there is one. Raises `ConfigurationError`."""
    context = httpx.create_ssl_context(trust_env=False)
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"webhook_ca_file={ca_file}: no certificates to be read there ({error.strerror or error})") from None
    return context


async def _addresses(host: str, port: int) -> list[str]:
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(where[4][0]).partition("%")[0] for where in found]


def chosen(addresses: Sequence[str], *, private: bool) -> IPv4Address | IPv6Address:
    """The first of them. Raises `ValueError` when any of them is not for us: a name that means two things is not to be trusted with either."""
    found = [_plain(ip_address(text)) for text in addresses]
    for address in map(_meant, found):
        if address.is_link_local or address.is_multicast or address.is_unspecified:
            raise ValueError(f"{address} is no address to be told at")
        if not private and not _is_public(address):
            raise ValueError(f"{address} is a private address: if that is meant, owners.toml must say private = true")
    return found[0]


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Where an IPv6 address leads that holds an IPv4 one: a gateway carries it there (RFC 4291, 3056, 6052)."""
    if not isinstance(address, IPv6Address):
        return address
    low = IPv4Address(int(address) & 0xFFFFFFFF)
    within = low if int(low) > 1 and any(address in net for net in _WITHIN) else None
    return address.sixtofour or within or address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not (isinstance(address, IPv6Address) and address.is_site_local)


def signed(secret: str, key: str, at: int, body: bytes) -> dict[str, str]:
    """The headers by which a receiver knows the sender, the time, and a repeat (`webhook-id`)."""
    mark = hmac.new(key_of(secret), f"{key}.{at}.".encode() + body, sha256).digest()
    return {"webhook-id": key, "webhook-timestamp": str(at), "webhook-signature": f"v1,{base64.b64encode(mark).decode()}"}


def key_of(secret: str) -> bytes:
    """Raises `ValueError` for a `whsec_` that is none."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ValueError("what follows whsec_ is no key in base64")
    return key


def judged(status: int, headers: Mapping[str, str]) -> Delivery:
    """What an answer means."""
    if 200 <= status < 300:
        return Delivery(Fate.SENT)
    if 300 <= status < 400:
        return Delivery(Fate.NEVER, f"answered {status}, to go elsewhere: that is not followed, write the right address into owners.toml")
    if status in _AGAIN or status >= 500:
        return Delivery(Fate.AGAIN, f"answered {status}", _retry_after(headers.get("retry-after", "")))
    return Delivery(Fate.NEVER, f"answered {status}")


def _retry_after(said: str) -> timedelta:
    """Seconds, or a date; what is neither, or past, is no wait."""
    try:
        wait = timedelta(seconds=int(said)) if said.isdigit() else parsedate_to_datetime(said) - datetime.now(UTC)
    except (ValueError, TypeError, OverflowError):
        return timedelta(0)
    return min(max(wait, timedelta(0)), LONGEST_WAIT)
