"""A certificate authority of one's own: the CA, server and client certificates, the key that signs tokens.

Everything lies in one directory (0700; files 0600) and is made once. Keys are ECDSA P-256: quick to
make, quick in the handshake. A certificate and its key are one file, and files are written whole: whoever reads
them, at any moment and after any crash, finds a pair that belongs together.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
LEAF_DAYS = 365


@dataclass(frozen=True)
class Credential:
    """A certificate (with its issuer's chain) and its key, as PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True)
class Pki:
    directory: Path
    ca: Credential
    server: Credential
    admin: Credential
    kubelet_client: Credential
    """With which the server calls nodes (CN kube-apiserver-kubelet-client)."""
    token_key: bytes
    """PEM of the private key that signs service-account tokens."""


def write_private(path: Path, data: bytes) -> None:
    """Writes a file that only its owner may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _name(common: str, organizations: Sequence[str] = ()) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def create_ca(common: str = "holdfast-ca") -> Credential:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common)
    certificate = (
        _builder(name, name, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Credential(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def _issue(ca: Credential, subject: x509.Name, usages: list[x509.ObjectIdentifier], hosts: Sequence[str]) -> Credential:
    issuer = x509.load_pem_x509_certificate(ca.certificate)
    issuer_key = serialization.load_pem_private_key(ca.key, None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(subject, issuer.subject, key.public_key(), LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(h) for h in hosts]), critical=False)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    return Credential(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def issue_client(ca: Credential, common: str, organizations: Sequence[str] = ()) -> Credential:
    """A client certificate: Kubernetes reads CN as the user and O as its groups."""
    return _issue(ca, _name(common, organizations), [ExtendedKeyUsageOID.CLIENT_AUTH], ())


def issue_server(ca: Credential, common: str, hosts: Sequence[str], organizations: Sequence[str] = ()) -> Credential:
    return _issue(ca, _name(common, organizations), [ExtendedKeyUsageOID.SERVER_AUTH], hosts)


def _load(directory: Path, name: str) -> Credential | None:
    try:
        text = (directory / f"{name}.pem").read_bytes()
    except FileNotFoundError:
        return None
    certificate, begin, key = text.partition(b"-----BEGIN PRIVATE KEY-----")
    return Credential(certificate, begin + key)


def load(directory: Path, name: str) -> Credential:
    """What ``save`` wrote. Raises RuntimeError when it is not there."""
    found = _load(directory, name)
    if found is None:
        raise RuntimeError(f"{directory}/{name}.pem is missing: the server writes it when it starts")
    return found


def save(directory: Path, name: str, credential: Credential) -> None:
    write_private(directory / f"{name}.pem", credential.certificate + credential.key)


def _expires_soon(credential: Credential) -> bool:
    certificate = x509.load_pem_x509_certificate(credential.certificate)
    return certificate.not_valid_after_utc < datetime.now(UTC) + timedelta(days=30)


def _hosts(credential: Credential) -> set[str]:
    certificate = x509.load_pem_x509_certificate(credential.certificate)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(n.value) for n in names}


def ensure_pki(directory: Path, hosts: Sequence[str]) -> Pki:
    """Loads the directory's keys and makes what is missing, about to expire, or lacks one of ``hosts``."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca = _load(directory, "ca")
    if ca is None:
        ca = create_ca()
        save(directory, "ca", ca)
    server = _load(directory, "server")
    if server is None or _expires_soon(server) or not set(hosts) <= _hosts(server):
        server = issue_server(ca, "kube-apiserver", hosts)
        save(directory, "server", server)
    clients = {}
    for name, common, groups in (
        ("admin", "kubernetes-admin", ("system:masters",)),
        ("kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",)),
    ):
        found = _load(directory, name)
        if found is None or _expires_soon(found):
            found = issue_client(ca, common, groups)
            save(directory, name, found)
        clients[name] = found
    token_path = directory / "sa.key"
    if not token_path.exists():
        write_private(token_path, _key_pem(ec.generate_private_key(ec.SECP256R1())))
    return Pki(directory, ca, server, clients["admin"], clients["kubelet-client"], token_path.read_bytes())


def server_context(credential: Credential, ca_pem: bytes, scratch: Path, *, require_client: bool = False) -> ssl.SSLContext:
    """TLS 1.2+ for a server that accepts (or requires) client certificates of our CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_chain(context, credential, scratch)
    context.load_verify_locations(cadata=ca_pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED if require_client else ssl.CERT_OPTIONAL
    return context


def client_context(ca_pem: bytes, credential: Credential | None, scratch: Path) -> ssl.SSLContext:
    """TLS for a client that trusts our CA only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca_pem.decode())
    if credential is not None:
        _load_chain(context, credential, scratch)
    return context


def _load_chain(context: ssl.SSLContext, credential: Credential, scratch: Path) -> None:
    """The ssl module reads keys from files only; this one is private and gone at once."""
    path = scratch / f".chain-{os.getpid()}-{id(context)}"
    write_private(path, credential.certificate + credential.key)
    try:
        context.load_cert_chain(path)
    finally:
        path.unlink()
