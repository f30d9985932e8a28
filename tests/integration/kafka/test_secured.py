"""A broker that demands credentials: every client is let in by each way, and every wrong setting is one line that names it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from stream.adapters.kafka.admin import KafkaAdmin, plan
from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.adapters.kafka.settings import KafkaSettings
from stream.core.errors import ConfigurationError, UnavailableError
from stream.core.record import TopicPartition
from stream.core.topic import Topic
from stream.ports import Outgoing
from tests.conformance.broker import Watch
from tests.integration.kafka.secured import KEY_PASSWORD, PASSWORD, Secured, Way

Spoil = Callable[[Secured], KafkaSettings]


@pytest.mark.parametrize("way", ["plain", "scram", "tlsplain", "mutual"])
async def test_every_client_is_let_in(strict: Secured, way: Way) -> None:
    settings, place = strict.settings(way), TopicPartition(f"secured-{uuid4().hex}", 0)
    async with KafkaAdmin(settings) as admin:
        await admin.apply(plan([Topic(place.topic, partitions=1)], {}))
        publisher, log, watch = KafkaPublisher(settings), KafkaLog(settings), Watch()
        await publisher.start()
        assert not await publisher.publish([Outgoing(1, place.topic, b"k", b"v", [])])
        await publisher.stop()
        assert await admin.bounds([place.topic]) == {place: (0, 1)}
        await log.start([place.topic], uuid4().hex, watch)
        await watch.until(lambda: place in watch.owned)
        await log.seek(place, 0)
        assert [r.value for r in await log.fetch(place, limit=10, within=timedelta(seconds=20))] == [b"v"]
        await log.stop()


def elsewhere(settings: KafkaSettings, bootstrap: str) -> KafkaSettings:
    return replace(settings, bootstrap=bootstrap)


def by_name(settings: KafkaSettings) -> KafkaSettings:
    """The certificates are for the address alone."""
    return replace(settings, bootstrap=settings.bootstrap.replace("127.0.0.1", "localhost"))


def anonymous(settings: KafkaSettings) -> KafkaSettings:
    return replace(settings, cert_file="", key_file="")


CERTAIN: dict[str, tuple[Spoil, str]] = {
    "wrong password": (lambda s: replace(s.settings("plain"), password="no"), "check kafka_username and kafka_password"),
    "wrong password over TLS": (lambda s: replace(s.settings("tlsplain"), password="no"), "check kafka_username and kafka_password"),
    "wrong password by SCRAM": (lambda s: replace(s.settings("scram"), password="no"), r"\(SCRAM-SHA-512\): check kafka_username and kafka_password"),
    "no such user": (lambda s: replace(s.settings("scram"), username="bob"), "check kafka_username and kafka_password"),
    "another mechanism": (lambda s: replace(s.settings("scram"), mechanism="PLAIN"), "does not take kafka_mechanism=PLAIN"),
    "nobody signs in there": (lambda s: elsewhere(s.settings("plain"), s.plaintext), "kafka_security=SASL_PLAINTEXT is not what it takes"),
    "unknown authority": (lambda s: replace(s.settings("scram"), ca_file=str(s.stranger)), r"not trusted .* kafka_ca_file=.*stranger.pem must hold"),
    "no authority": (lambda s: replace(s.settings("scram"), ca_file=""), "kafka_ca_file, which is not set, must hold the authority"),
    "wrong host name": (lambda s: by_name(s.settings("scram")), r"for another name .*'localhost'.*: say the name in kafka"),
    "no client certificate": (lambda s: anonymous(s.settings("mutual")), "wants a client certificate: say kafka_cert_file and kafka_key_file"),
    "a stranger's certificate": (
        lambda s: replace(s.settings("mutual"), cert_file=str(s.strange_client.cert), key_file=str(s.strange_client.key)),
        "does not take the certificate in kafka_cert_file=.*strange.cert.pem",
    ),
    "wrong key password": (lambda s: replace(s.settings("mutual"), key_password="no"), "is kafka_key_password right"),
    "plain text to TLS": (lambda s: elsewhere(s.settings("plain"), s.settings("scram").bootstrap), "speaks TLS and kafka_security=SASL_PLAINTEXT"),
    "nothing said to TLS": (lambda s: KafkaSettings(bootstrap=s.settings("mutual").bootstrap), "it speaks TLS and kafka_security=PLAINTEXT"),
    "sent on in plain text": (lambda s: KafkaSettings(bootstrap=s.lure), "sends its clients on to kafka.example, which is not this machine"),
}
HINTED: dict[str, Spoil] = {
    "TLS to plain text": lambda s: elsewhere(s.settings("scram"), s.plaintext),
    "TLS to one that wants a login": lambda s: elsewhere(s.settings("mutual"), s.settings("scram").bootstrap),
    "nothing said to one that wants a login": lambda s: KafkaSettings(bootstrap=s.settings("plain").bootstrap),
}


async def by_admin(settings: KafkaSettings) -> None:
    async with KafkaAdmin(settings):
        raise AssertionError("let in")


@pytest.mark.parametrize("case", CERTAIN)
async def test_a_wrong_setting_is_one_line_that_names_it(strict: Secured, case: str) -> None:
    spoil, said = CERTAIN[case]
    await refused(by_admin(spoil(strict)), said)


@pytest.mark.parametrize("case", ["wrong password by SCRAM", "unknown authority", "sent on in plain text"])
async def test_reading_and_publishing_are_refused_as_clearly(strict: Secured, case: str) -> None:
    spoil, said = CERTAIN[case]
    await refused(KafkaLog(spoil(strict)).start(["any"], uuid4().hex, Watch()), said)
    await refused(KafkaPublisher(spoil(strict)).start(), said)


async def refused(work: Awaitable[None], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        await work
    line = str(raised.value)
    assert len(line.splitlines()) == 1
    assert PASSWORD not in line
    assert KEY_PASSWORD not in line


@pytest.mark.parametrize("case", HINTED)
async def test_a_broker_that_hangs_up_may_be_restarting_so_it_is_asked_again_with_a_hint(strict: Secured, case: str) -> None:
    with pytest.raises(UnavailableError, match=r"hangs up: is kafka_security=\w+ what this port takes\?"):
        await by_admin(HINTED[case](strict))
