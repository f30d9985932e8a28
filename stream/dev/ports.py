"""Ports on the loopback for the parts of a stack: the known ones where free, others where not."""

import socket
from dataclasses import dataclass

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Ports:
    """The ports people see. The Compose file publishes the same, so an address works with both stacks."""

    kafka: int = 29092
    postgres: int = 25432
    otlp: int = 24318
    jaeger_ui: int = 26686


KNOWN = Ports()


def is_free(port: int) -> bool:
    """Whether nobody listens on `port`; true at that moment only, so a start may still lose the race and must try again."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection in TIME_WAIT does not take a port
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """`count` different free ports."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:  # all are held until all are known, or one port would be given twice
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def prefer(port: int) -> int:
    """`port` where it is free, else any free one."""
    return port if is_free(port) else free_ports(1)[0]


def answers(port: int, timeout: float = 1.0) -> bool:
    """Whether somebody accepts a connection on `port`."""
    try:
        socket.create_connection((HOST, port), timeout).close()
    except OSError:
        return False
    return True
