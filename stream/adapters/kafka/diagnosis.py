"""Why no broker let a client in: which setting is wrong, in one line, or that nobody was there.

aiokafka logs why a connection failed and raises only that none could be made. So after a start that failed, each bootstrap server is asked once
more, and its answer decides: what a person must put right is a `ConfigurationError`, which ends the program instead of being tried for ever.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Protocol, TypeVar

from aiokafka.conn import create_conn
from aiokafka.errors import IllegalSaslStateError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from aiokafka.protocol.metadata import MetadataRequest

from stream.adapters.kafka.deadline import begin, bounded
from stream.adapters.kafka.settings import KafkaSettings
from stream.core.errors import ConfigurationError, UnavailableError

T = TypeVar("T")
# OpenSSL's numbers for a certificate that is for another name, or another address.
_OTHER_NAME = (62, 64)
# The first byte of a TLS alert, where the size of an answer was expected.
_ALERT = 0x15


class Network(Protocol):
    """What knows the brokers, inside every client."""

    cluster: Any
    bootstrap: Callable[[], Coroutine[Any, Any, None]]


def stay(network: Network, settings: KafkaSettings) -> None:
    """Have a client in plain text refuse to be sent beyond this machine: a broker behind a tunnel tells it to come back to another address."""
    bootstrap = network.bootstrap

    async def and_look() -> None:
        await bootstrap()
        if far := settings.exposed(broker.host for broker in network.cluster.brokers()):
            raise ConfigurationError(f"kafka={settings.bootstrap} sends its clients on to {far}, which {settings.plain}")

    network.bootstrap = and_look


async def started(start: Coroutine[Any, Any, T], settings: KafkaSettings, what: str) -> T:
    """A client's start, within its time. Raises `ConfigurationError` when a broker says, or shows, that a setting is wrong."""
    try:
        return await bounded(start, settings.start, what)
    except UnavailableError as error:
        # Silence tells nothing, and another question would only be waited for as long.
        if error.__cause__ is None:
            raise
        hints = [await _asked(settings, host, port) for host, port in settings.servers()]
        if hint := next(filter(None, hints), ""):
            raise UnavailableError(f"{what}: {hint}") from None
        raise UnavailableError(f"{what}: nobody answers as Kafka at {settings.bootstrap}") from error.__cause__


async def _asked(settings: KafkaSettings, host: str, port: int) -> str:
    """What may be wrong with one server, as far as can be told; raises `ConfigurationError` where that is certain."""
    task = begin(_knock(settings, host, port))
    await asyncio.wait({task}, timeout=settings.answer)
    if not task.done() or task.cancelled() or (error := task.exception()) is None:
        return ""
    chain = list(_chain(error))
    if certain := next(filter(None, (_certain(settings, link) for link in chain)), ""):
        raise ConfigurationError(f"Kafka at {host}:{port}: {certain}")
    if any(isinstance(link, ConnectionResetError | EOFError | ssl.SSLEOFError) for link in chain):
        return f"Kafka at {host}:{port} hangs up: is kafka_security={settings.security} what this port takes?"
    return ""


async def _knock(settings: KafkaSettings, host: str, port: int) -> None:
    way = settings.connection()
    link = await create_conn(
        host,
        port,
        client_id=way["client_id"],
        request_timeout_ms=way["request_timeout_ms"],
        security_protocol=way["security_protocol"],
        ssl_context=way["ssl_context"],
        sasl_mechanism=way["sasl_mechanism"],
        sasl_plain_username=way["sasl_plain_username"],
        sasl_plain_password=way["sasl_plain_password"],
    )
    try:
        # Some refusals come only with the first question: of a missing client certificate, or to somebody who did not sign in.
        await link.send(MetadataRequest([]))
    finally:
        link.close()


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _certain(settings: KafkaSettings, error: BaseException) -> str:
    if isinstance(error, SaslAuthenticationFailed):
        return f"it does not take these credentials ({settings.mechanism}): check kafka_username and kafka_password"
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"it does not take kafka_mechanism={settings.mechanism} on this port: say another"
    if isinstance(error, IllegalSaslStateError):
        return f"nobody signs in on this port: kafka_security={settings.security} is not what it takes"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(settings, error)
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return _unencrypted(settings, error.reason or "")
    if isinstance(error, asyncio.IncompleteReadError) and (error.expected or 0) >> 24 == _ALERT:
        return f"it speaks TLS and kafka_security={settings.security} does not: say SSL or SASL_SSL"
    return ""


def _untrusted(settings: KafkaSettings, error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _OTHER_NAME:
        return f"its certificate is for another name ({error.verify_message}): say the name in kafka that its certificate has"
    trusted = f"kafka_ca_file={settings.ca_file}" if settings.ca_file else "kafka_ca_file, which is not set,"
    return f"its certificate is not trusted ({error.verify_message}): {trusted} must hold the authority that signed it"


def _unencrypted(settings: KafkaSettings, reason: str) -> str:
    if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
        if settings.cert_file:
            return f"it does not take the certificate in kafka_cert_file={settings.cert_file}"
        return "it wants a client certificate: say kafka_cert_file and kafka_key_file"
    return f"no TLS can be agreed on ({reason}): is kafka_security={settings.security} what this port takes?"
