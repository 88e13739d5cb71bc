"""Makes the vectors of this folder from implementations other than ours.

Requests are sealed by the HPKE of cryptography 50.0.2 (OpenSSL), suite MLKEM768-X25519 (X-Wing), HKDF-SHA256,
ChaCha20-Poly1305. What its interface does not export, the secret of the reply, is computed here from RFC 9180 and
draft-connolly-cfrg-xwing-kem over the same package's ML-KEM, X25519 and ChaCha20-Poly1305; that the computed key opens the
request holds it right. Run: pip install cryptography==50.0.2; python make.py
"""

import hashlib
import hmac
import json
import pathlib

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PublicKey, Suite

HERE = pathlib.Path(__file__).parent
REQUEST_LEN, REPLY_LEN, ENCAPSULATED_LEN = 1003, 556, 1120
SUITE_ID = b"HPKE\x64\x7a\x00\x01\x00\x03"


def pattern(length, start):
    return bytes((start + 7 * index) % 256 for index in range(length))


def extract(salt, ikm):
    return hmac.new(salt or bytes(32), ikm, hashlib.sha256).digest()


def expand(prk, info, length):
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha256).digest()
        out, counter = out + block, counter + 1
    return out[:length]


def labeled_extract(salt, label, ikm):
    return extract(salt, b"HPKE-v1" + SUITE_ID + label + ikm)


def labeled_expand(prk, label, info, length):
    return expand(prk, length.to_bytes(2, "big") + b"HPKE-v1" + SUITE_ID + label + info, length)


class KeyPair:
    def __init__(self, seed):
        expanded = hashlib.shake_256(seed).digest(96)
        self.ml_kem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        self.x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        self.x25519_public = self.x25519.public_key().public_bytes_raw()
        self.public = MLKEM768X25519PublicKey(self.ml_kem.public_key(), self.x25519.public_key())

    def decapsulate(self, encapsulated):
        of_ml_kem, coordinate = encapsulated[:1088], encapsulated[1088:]
        first = self.ml_kem.decapsulate(of_ml_kem)
        second = self.x25519.exchange(X25519PublicKey.from_public_bytes(coordinate))
        return hashlib.sha3_256(first + second + coordinate + self.x25519_public + rb"\.//^" + b"\\").digest()


def case(seed, number, epoch, start):
    pair, bundle = KeyPair(seed), pattern(32, start)
    header = bytes([1]) + number.to_bytes(2, "big") + epoch.to_bytes(4, "big")
    info = b"strongroom channel request v1\x00" + header + bundle
    request, reply, nonce = pattern(REQUEST_LEN, start + 1), pattern(REPLY_LEN, start + 2), pattern(32, start + 3)
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    sealed = suite.encrypt(request, pair.public, info)
    encapsulated = sealed[:ENCAPSULATED_LEN]
    context = b"\x00" + labeled_extract(b"", b"psk_id_hash", b"") + labeled_extract(b"", b"info_hash", info)
    secret = labeled_extract(pair.decapsulate(encapsulated), b"secret", b"")
    key, base_nonce = labeled_expand(secret, b"key", context, 32), labeled_expand(secret, b"base_nonce", context, 12)
    assert ChaCha20Poly1305(key).decrypt(base_nonce, sealed[ENCAPSULATED_LEN:], b"") == request
    exporter = labeled_expand(secret, b"exp", context, 32)
    exported = labeled_expand(exporter, b"sec", b"strongroom channel response v1", 32)
    prk = extract(encapsulated + nonce, exported)
    sealed_reply = ChaCha20Poly1305(expand(prk, b"key", 32)).encrypt(expand(prk, b"nonce", 12), reply, b"")
    return {
        "seed": seed.hex(), "number": number, "epoch": epoch, "bundle": bundle.hex(), "request": request.hex(),
        "sealed_request": (header + sealed).hex(), "response_nonce": nonce.hex(), "reply": reply.hex(),
        "sealed_reply": (nonce + sealed_reply).hex(),
    }


cases = [case(pattern(32, 5), 1, 0, 9), case(pattern(32, 50), 258, 16909060, 99), case(bytes(32), 65535, 4294967295, 200)]
about = "requests and replies of the channel: version, key number, epoch, enc, ciphertext; response nonce, ciphertext"
(HERE / "channel-v1.json").write_text(json.dumps({"about": about, "cases": cases}, indent=2) + "\n")
