"""The certificates of one local stack, made once: a CA, the simulator's own and
the merchant's .p12 and PEM, as WeChat would give them out. Runs in the `stack`
environment."""

import datetime
import ipaddress
from pathlib import Path

import botocore
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12
from cryptography.x509.oid import NameOID

from tools import has, write_private

LIFE = datetime.timedelta(days=3650)


def prepare(folder: Path, mch_id: str) -> None:
    """Everything in `folder`, made anew when the merchant is another."""
    done = folder / "made"
    mark = f"{mch_id} with PEM"
    if has(done, mark):
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    ca_key, ca = certificate("The local stack's CA")
    server_key, server = certificate("127.0.0.1", ca_key, ca)
    merchant_key, merchant = certificate(mch_id, ca_key, ca)
    authority = ca.public_bytes(Encoding.PEM)
    write_private(folder / "ca.pem", authority)
    write_private(folder / "server.pem", server.public_bytes(Encoding.PEM))
    write_private(folder / "server.key", server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    # The public CAs too, for another gateway than the simulator.
    public = Path(botocore.__file__).with_name("cacert.pem")
    write_private(folder / "trusted.pem", public.read_bytes() + authority)
    # WeChat's files have 3DES and SHA-1 to this day.
    old = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(2048)
    old = old.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(hashes.SHA1())
    bundle = pkcs12.serialize_key_and_certificates(
        b"Tenpay Certificate", merchant_key, merchant, [ca], old.build(mch_id.encode())
    )
    write_private(folder / "apiclient_cert.p12", bundle)
    write_private(folder / "apiclient_cert.pem", merchant.public_bytes(Encoding.PEM))
    pkcs8 = merchant_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_private(folder / "apiclient_key.pem", pkcs8)
    write_private(done, mark.encode())


def serial(folder: Path) -> str:
    """The merchant's certificate's, as APIv3 wants it: hex, without colons."""
    pem = (folder / "apiclient_cert.pem").read_bytes()
    number = f"{x509.load_pem_x509_certificate(pem).serial_number:X}"
    return number.zfill(len(number) + len(number) % 2)


def certificate(name: str, issuer_key=None, issuer=None):
    """A key and its certificate; a CA's unless there is an issuer."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A day back, for clocks that are moved.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return key, builder.sign(issuer_key or key, hashes.SHA256())
