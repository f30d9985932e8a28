"""What is refused before a broker is spoken to."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from stream.adapters.kafka.admin import KafkaAdmin
from stream.adapters.kafka.settings import KafkaSettings
from stream.core.errors import ConfigurationError

SIGNED_IN = KafkaSettings(bootstrap="kafka.example:9092", security="SASL_SSL", username="me", password="hush")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (replace(SIGNED_IN, security="SASL_PLAINTEXT"), "kafka.example is not this machine and kafka_security=SASL_PLAINTEXT is plain text"),
        (KafkaSettings(bootstrap="localhost:1,10.0.0.7:9092"), "10.0.0.7 is not this machine and kafka_security=PLAINTEXT is plain text"),
        (KafkaSettings(bootstrap="[2001:db8::1]:9092"), "2001:db8::1 is not this machine"),
        (KafkaSettings(bootstrap="localhost:nine"), "say host:port"),
        (replace(SIGNED_IN, password=""), "it needs kafka_username and kafka_password"),
        (KafkaSettings(cert_file="c.pem"), "certificates are for SSL and SASL_SSL"),
        (replace(SIGNED_IN, key_file="k.pem"), "say kafka_cert_file too"),
        (replace(SIGNED_IN, ca_file="/none/ca.pem"), "kafka_ca_file=/none/ca.pem: no certificates to be read there"),
        (replace(SIGNED_IN, cert_file="/none/c.pem"), "kafka_cert_file=/none/c.pem: no certificate with its key"),
        (replace(SIGNED_IN, ca_file=__file__), f"kafka_ca_file={__file__}: no certificates to be read there"),
    ],
)
async def test_what_cannot_be_or_must_not_be_is_one_line(given: KafkaSettings, said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)) as refused:
        KafkaAdmin(given)
    assert "hush" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("bootstrap", ["localhost:1", "127.0.0.1:1,127.9.9.9:2", "[::1]:9092", "localhost"])
def test_plain_text_on_this_machine_is_nobodys_business(bootstrap: str) -> None:
    assert list(KafkaSettings(bootstrap=bootstrap).faults()) == []


def test_plain_text_can_be_allowed() -> None:
    assert list(KafkaSettings(bootstrap="kafka:9092", allow_insecure=True).faults()) == []
