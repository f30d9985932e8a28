"""Certificates made for a test: an authority, and what it vouches for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pair:
    """A certificate with its key: `cert` and `key` in files of their own, `both` in one."""

    cert: Path
    key: Path
    both: Path


class Authority:
    """Signs for names and addresses; its own certificate is at `file`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._begun(self._name, self._key).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(made.sign(self._key, SHA256()).public_bytes(Encoding.PEM))

    def signed(self, name: str, *addresses: str, password: str = "") -> Pair:
        """For the host names and IP addresses given; the key is encrypted when there is a password."""
        key, named = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._begun(named, key)
        if addresses:
            made = made.add_extension(x509.SubjectAlternativeName([_general(address) for address in addresses]), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        cert = made.add_extension(issuer, critical=False).sign(self._key, SHA256()).public_bytes(Encoding.PEM)
        hidden = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden)
        files = Pair(*(self._folder / f"{name}.{kind}.pem" for kind in ("cert", "key", "both")))
        for file, content in ((files.cert, cert), (files.key, secret), (files.both, secret + cert)):
            file.write_bytes(content)
        return files

    def _begun(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )


def _general(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(address))
    except ValueError:
        return x509.DNSName(address)
