"""A broker that demands credentials, with a listener for each way to show them; what `ann` may do with a topic can be said."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from stream.adapters.kafka.settings import KafkaSettings, Mechanism, Security
from stream.dev.kafka import Broker
from stream.dev.ports import HOST, free_ports
from stream.dev.stack import memory_home, quiet, remove_home
from tests.certificates import Authority, Pair
from tests.conformance.broker import settings

Way = Literal["plain", "scram", "tlsplain", "mutual"]
_WAYS: dict[Way, tuple[Security, Mechanism]] = {
    "plain": ("SASL_PLAINTEXT", "PLAIN"),
    "scram": ("SASL_SSL", "SCRAM-SHA-512"),
    "tlsplain": ("SASL_SSL", "PLAIN"),
    "mutual": ("SSL", "PLAIN"),
}
PASSWORD, KEY_PASSWORD = "Xq7-Hush!Sasl_Pw", "Zk3-Hush!Key_Pw"
"""Planted: they must never be seen in anything that is printed."""

_LOGIN = "org.apache.kafka.common.security"
_LISTENERS = """
listeners=PLAINTEXT://127.0.0.1:$broker,CONTROLLER://127.0.0.1:$controller,LURE://127.0.0.1:{lure},{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:$broker,CONTROLLER://127.0.0.1:$controller,LURE://kafka.example:9092,{listeners}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LURE:PLAINTEXT,{protocols}
ssl.keystore.type=PEM
ssl.keystore.location={both}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
listener.name.mutual.ssl.client.auth=required
listener.name.plain.sasl.enabled.mechanisms=PLAIN
listener.name.tlsplain.sasl.enabled.mechanisms=PLAIN
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.plain.plain.sasl.jaas.config={login}.plain.PlainLoginModule required user_ann="{password}";
listener.name.tlsplain.plain.sasl.jaas.config={login}.plain.PlainLoginModule required user_ann="{password}";
listener.name.scram.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
super.users=User:ANONYMOUS
"""


@dataclass(frozen=True)
class Secured:
    """Where its listeners are, and how to be let in by each. `lure` is plain text and sends its clients on to another machine.

    Who comes by `plaintext` may do everything; `ann`, who comes by the ways with a password, too, as long as nobody spoke of a topic.
    """

    plaintext: str
    lure: str
    ports: dict[Way, int]
    authority: Path
    client: Pair
    stranger: Path
    strange_client: Pair

    def settings(self, way: Way) -> KafkaSettings:
        security, mechanism = _WAYS[way]
        made = replace(settings(f"{HOST}:{self.ports[way]}"), security=security)
        if made.signs_in:
            made = replace(made, mechanism=mechanism, username="ann", password=PASSWORD)
        if made.over_tls:
            made = replace(made, ca_file=str(self.authority))
        if way == "mutual":
            made = replace(made, cert_file=str(self.client.cert), key_file=str(self.client.key), key_password=KEY_PASSWORD)
        return made

    def permit(self, topic: str, operation: str) -> None:
        """From now on `ann` may do this with a topic, by Kafka's name for it, and nothing else; empty: everything again."""
        admin: Any = AdminClient({"bootstrap.servers": self.plaintext, "log_level": 0})
        named = ResourceType.TOPIC, topic, ResourcePatternType.LITERAL
        # Its own annotations leave out that nobody in particular may be named.
        everybody: Any = None
        for done in admin.delete_acls([AclBindingFilter(*named, everybody, everybody, AclOperation.ANY, AclPermissionType.ANY)]).values():
            done.result(20)
        if operation:
            for done in admin.create_acls([AclBinding(*named, "User:ann", "*", AclOperation[operation], AclPermissionType.ALLOW)]).values():
                done.result(20)


@contextmanager
def secured(folder: Path) -> Generator[Secured]:
    """Started, about four seconds; `folder` takes the certificates."""
    authority, stranger = Authority(folder, "authority"), Authority(folder, "stranger")
    broker_port, lure, *ports = free_ports(2 + len(_WAYS))
    at = dict(zip(_WAYS, ports, strict=True))
    more = _LISTENERS.format(
        listeners=",".join(f"{way.upper()}://{HOST}:{port}" for way, port in at.items()),
        protocols=",".join(f"{way.upper()}:{security}" for way, (security, _) in _WAYS.items()),
        lure=lure,
        both=authority.signed("broker", HOST).both,
        authority=authority.file,
        login=_LOGIN,
        password=PASSWORD,
    )
    home = memory_home()
    user = f"SCRAM-SHA-512=[name=ann,password={PASSWORD}]"
    broker = Broker(home, broker_port, quiet, more=more, format=("--add-scram", user))
    try:
        broker.start()
        yield Secured(
            broker.address,
            f"{HOST}:{lure}",
            at,
            authority.file,
            authority.signed("client", password=KEY_PASSWORD),
            stranger.file,
            stranger.signed("strange", password=KEY_PASSWORD),
        )
    finally:
        broker.stop()
        remove_home(home)
