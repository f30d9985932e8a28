"""What a database URL says of the way there: which hosts, protected or not, as whom. Read as the driver reads it, without connecting."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from stream.adapters.loopback import is_loopback

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_OVER_TLS = MODES[3:]
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_EXAMPLE = "postgresql://user@host:5432/database?sslmode=verify-full"


@dataclass(frozen=True)
class Address:
    """`hosts` that begin with a slash are sockets of this machine. `mode`: the driver's default, prefer, takes plain text when offered no TLS."""

    hosts: tuple[str, ...]
    mode: str
    user: str
    files: Mapping[str, str]

    @property
    def exposed(self) -> str:
        """The first host beyond this machine that may be spoken to in plain text; empty when there is none."""
        if self.mode in _OVER_TLS:
            return ""
        return next((host for host in self.hosts if not host.startswith("/") and not is_loopback(host)), "")


def read_address(url: str, environ: Mapping[str, str] = os.environ) -> Address:
    """Raises `ValueError` with the end of a sentence; it never quotes the URL, which may hold a password."""
    try:
        parts = urlsplit(url)
        said = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=True).items()} if parts.query else {}
    except ValueError:
        raise ValueError(f"is no database URL like {_EXAMPLE}") from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError(f"is no database URL like {_EXAMPLE}")
    login, at, places = parts.netloc.partition("@")
    if "@" in places:
        # The driver splits at the first: the rest of a password would pass for the host, and be named wherever the host is.
        raise ValueError("has two @ before the database's name: write %40 for one in a password")
    mode = said.get("sslmode") or environ.get("PGSSLMODE") or "prefer"
    if mode not in MODES:
        raise ValueError(f"has an sslmode that is none of {', '.join(MODES)}")
    return Address(
        hosts=tuple(_hosts((places if at else parts.netloc) or said.get("host", ""), _service(said, environ), environ)),
        mode=mode,
        user=unquote(login.partition(":")[0]) if at else said.get("user", ""),
        files={name: said[name] for name in _FILES if name in said},
    )


def _service(said: Mapping[str, str], environ: Mapping[str, str]) -> str:
    return said.get("service") or environ.get("PGSERVICE") or ""


def _hosts(places: str, service: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Where nobody names a host, a service file may; it is not read here, so it counts as leading elsewhere."""
    named = places or (f"service {service}" if service else environ.get("PGHOST", "")) or "localhost"
    for place in named.split(","):
        host, _, port = unquote(place).rpartition(":") if not place.endswith("]") and ":" in place else (unquote(place), "", "")
        if port and not port.isdigit():
            raise ValueError("has a port that is no number")
        yield host.strip("[]")


def missing_files(address: Address) -> Iterator[str]:
    """What `address` says of certificates and keys that cannot be read: the driver would call it a server that does not answer."""
    for name, file in address.files.items():
        if not os.access(Path(file), os.R_OK):
            yield f"{name}={file} is no file that can be read"
