"""How to reach the brokers, and how long to wait for them."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

from aiokafka.conn import collect_hosts

from stream.adapters.loopback import is_loopback
from stream.core.errors import ConfigurationError
from stream.core.setting import one_of, seconds, setting, text, word, yes_or_no

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
    `metadata` is how often the client looks which partitions there are: those that were added are noticed within the minute.
    """

    bootstrap: str = setting("localhost:9092", word, name="kafka")
    security: Security = setting("PLAINTEXT", one_of(*get_args(Security)), name="kafka_security")
    ca_file: str = setting("", text, name="kafka_ca_file")
    cert_file: str = setting("", text, name="kafka_cert_file")
    key_file: str = setting("", text, name="kafka_key_file")
    key_password: str = setting("", text, name="kafka_key_password", secret=True)
    mechanism: Mechanism = setting("SCRAM-SHA-512", one_of(*get_args(Mechanism)), name="kafka_mechanism")
    username: str = setting("", text, name="kafka_username")
    password: str = setting("", text, name="kafka_password", secret=True)
    allow_insecure: bool = setting(False, yes_or_no)
    session: float = setting(45.0, seconds(6, 1800), name="session_timeout")
    heartbeat: float = setting(3.0, seconds(0.1, 600))
    client_id: str = "opstream"
    rebalance: float = 30.0
    request: float = 40.0
    start: float = 20.0
    answer: float = 10.0
    silence: float = 30.0
    metadata: float = 30.0
    send: float = 30.0
    stop: float = 10.0
    compression: Compression = "zstd"
    largest_record: int = 1_000_000

    @property
    def over_tls(self) -> bool:
        return self.security in ("SSL", "SASL_SSL")

    @property
    def signs_in(self) -> bool:
        return self.security in ("SASL_PLAINTEXT", "SASL_SSL")

    def servers(self) -> list[tuple[str, int]]:
        """Name and port of each bootstrap server, as the client reads them."""
        return [(host, port) for host, port, _ in collect_hosts(self.bootstrap, randomize=False)]

    def faults(self) -> Iterator[str]:
        """What contradicts itself, or would carry records or a password in plain text beyond this machine."""
        if self.heartbeat * 3 > self.session:
            yield f"heartbeat={self.heartbeat:g}: it may be a third of session_timeout={self.session:g} at most"
        if self.signs_in and not (self.username and self.password):
            yield f"kafka_security={self.security}: it needs kafka_username and kafka_password"
        if (self.cert_file or self.key_file or self.ca_file) and not self.over_tls:
            yield f"kafka_security={self.security}: certificates are for SSL and SASL_SSL; say one of these, or leave kafka_*_file out"
        if self.key_file and not self.cert_file:
            yield "kafka_key_file: it belongs to a certificate; say kafka_cert_file too"
        try:
            far = self.exposed(host for host, _ in self.servers())
        except ValueError:
            yield f"kafka={self.bootstrap!r}: say host:port, several with commas between"
            return
        if far:
            yield f"kafka: {far} {self.plain}"

    def exposed(self, hosts: Iterable[str]) -> str:
        """The first of them that would be spoken to in plain text beyond this machine, and was not allowed; empty when there is none."""
        if self.over_tls or self.allow_insecure:
            return ""
        return next((host for host in hosts if not is_loopback(host)), "")

    @property
    def plain(self) -> str:
        """What is wrong with a host that is `exposed`, and what to do."""
        cure = "say SSL or SASL_SSL, or allow_insecure=true where nobody else can listen in"
        return f"is not this machine and kafka_security={self.security} is plain text: {cure}"

    def connection(self) -> Connection:
        """Certificates and host names are always checked where TLS is used. Raises `ConfigurationError`, also for what `faults` says."""
        if faults := list(self.faults()):
            raise ConfigurationError("; ".join(faults))
        return Connection(
            bootstrap_servers=self.bootstrap,
            client_id=self.client_id,
            request_timeout_ms=int(self.request * 1000),
            metadata_max_age_ms=int(self.metadata * 1000),
            security_protocol=self.security,
            ssl_context=self._tls() if self.over_tls else None,
            sasl_mechanism=self.mechanism,
            sasl_plain_username=self.username or None,
            sasl_plain_password=self.password or None,
        )

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except OSError as error:
            raise ConfigurationError(f"kafka_ca_file={self.ca_file}: no certificates to be read there ({_reason(error)})") from None
        if self.cert_file:
            self._show_certificate(context)
        return context

    def _show_certificate(self, context: ssl.SSLContext) -> None:
        files = f"kafka_cert_file={self.cert_file}" + (f", kafka_key_file={self.key_file}" if self.key_file else "")
        try:
            # Never None: OpenSSL would then ask for the password on the terminal.
            context.load_cert_chain(self.cert_file, self.key_file or None, password=self.key_password)
        except OSError as error:
            cure = "is kafka_key_password right, and do both belong together?" if isinstance(error, ssl.SSLError) else _reason(error)
            raise ConfigurationError(f"{files}: no certificate with its key to be read there: {cure}") from None


def _reason(error: OSError) -> str:
    return error.reason or "not PEM" if isinstance(error, ssl.SSLError) else error.strerror or type(error).__name__
