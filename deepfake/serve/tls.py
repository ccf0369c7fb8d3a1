"""A self-signed certificate for local use, made once and kept."""

from __future__ import annotations

import ipaddress
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deepfake.atomic import write_atomically

DAYS = 397  # browsers accept no longer
RENEWAL_DAYS = 7


class Certificate(NamedTuple):
    """A certificate and its key, as files.

    Attributes:
        certificate: PEM.
        key: PEM, readable by its owner alone.
        fingerprint: SHA-256 of the certificate, as browsers show it.
    """

    certificate: Path
    key: Path
    fingerprint: str


def kept(host: str, folder: Path | None = None) -> Certificate:
    """The certificate of a host, made where there is none that is still good.

    EC P-256, for `localhost`, `127.0.0.1`, `::1`, this machine's name and the host; no authority (it can sign nothing).

    Args:
        host: Address that is listened at.
        folder: Where it is kept; None for `deepfake/tls` in the user's configuration folder.
    """
    folder = folder or Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "deepfake" / "tls"
    file, key_file = folder / "certificate.pem", folder / "key.pem"
    names = _names(host)
    found = _read(file)
    if found is None or not key_file.is_file() or not _is_good(found, names):
        found = _make(file, key_file, names)
    digest = found.fingerprint(hashes.SHA256())
    return Certificate(file, key_file, ":".join(f"{byte:02X}" for byte in digest))


def _names(host: str) -> list[x509.GeneralName]:
    """The names and addresses that clients may call the host by."""
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in dict.fromkeys(["localhost", socket.gethostname()])]
    addresses = [ipaddress.ip_address(address) for address in ("127.0.0.1", "::1")]
    try:
        address = ipaddress.ip_address(host)
        if address not in addresses and not address.is_unspecified:
            addresses.append(address)
    except ValueError:
        if x509.DNSName(host) not in names:
            names.append(x509.DNSName(host))
    return [*names, *map(x509.IPAddress, addresses)]


def _read(file: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError):
        return None


def _is_good(found: x509.Certificate, names: list[x509.GeneralName]) -> bool:
    there = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    soon = datetime.now(UTC) + timedelta(days=RENEWAL_DAYS)
    return set(names) <= set(there) and soon < found.not_valid_after_utc


def _make(file: Path, key_file: Path, names: list[x509.GeneralName]) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "deepfake serve")]), datetime.now(UTC)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=DAYS) - timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key_file.unlink(missing_ok=True)
    with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(pem)
    write_atomically(file, certificate.public_bytes(serialization.Encoding.PEM))
    return certificate
