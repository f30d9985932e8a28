"""How to reach the brokers, and how long to wait for them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Literal, TypedDict

Security = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
Compression = Literal["zstd", "snappy", "lz4"]


class Connection(TypedDict):
    """The keywords that every aiokafka client takes."""

    bootstrap_servers: str
    client_id: str
    request_timeout_ms: int
    metadata_max_age_ms: int
    security_protocol: Security
    ssl_context: ssl.SSLContext | None
    sasl_mechanism: Mechanism
    sasl_plain_username: str | None
    sasl_plain_password: str | None


@dataclass(frozen=True, kw_only=True)
class KafkaSettings:
    """All waits are in seconds, and ours: the client's own time-outs do not cover every call it makes.

    `heartbeat` is at most a third of `session`; `request` outlives `rebalance`, because joining a group may take that long. `silence` is how long
    a waited-for partition may go without a word from its broker before the client is thrown away; `answer` how long one fetch waits for that word.
    """

    bootstrap: str
    client_id: str = "opstream"
    security: Security = "PLAINTEXT"
    ca_file: str | None = None
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    session: float = 45.0
    heartbeat: float = 3.0
    rebalance: float = 30.0
    request: float = 40.0
    start: float = 20.0
    answer: float = 10.0
    silence: float = 30.0
    send: float = 30.0
    stop: float = 10.0
    compression: Compression = "zstd"
    largest_record: int = 1_000_000

    def connection(self) -> Connection:
        """Certificates and host names are always checked where TLS is used."""
        secure = self.security in ("SSL", "SASL_SSL")
        return Connection(
            bootstrap_servers=self.bootstrap,
            client_id=self.client_id,
            request_timeout_ms=int(self.request * 1000),
            metadata_max_age_ms=60_000,
            security_protocol=self.security,
            ssl_context=ssl.create_default_context(cafile=self.ca_file) if secure else None,
            sasl_mechanism=self.mechanism,
            sasl_plain_username=self.username,
            sasl_plain_password=self.password,
        )
