"""The certificate that is made and kept."""

from __future__ import annotations

import stat

from cryptography import x509

from deepfake.serve.tls import kept


def test_a_certificate_is_made_once_and_again_for_another_host(tmp_path):
    first = kept("127.0.0.1", tmp_path)
    assert stat.S_IMODE(first.key.stat().st_mode) == 0o600
    assert kept("127.0.0.1", tmp_path) == first
    found = x509.load_pem_x509_certificate(first.certificate.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    assert "127.0.0.1" in map(str, names.get_values_for_type(x509.IPAddress))
    assert (found.not_valid_after_utc - found.not_valid_before_utc).days <= 397
    other = kept("detector.example", tmp_path)
    assert other.fingerprint != first.fingerprint
    assert kept("127.0.0.1", tmp_path) == other  # it serves this host too
    other.certificate.write_bytes(b"damaged")
    assert kept("127.0.0.1", tmp_path).fingerprint != other.fingerprint
