"""Makes the vectors of this folder from implementations other than ours.

Argon2id: argon2-cffi 25.1.0, which binds the reference C implementation. Wrapped keys: HMAC of Python's standard
library and AES-GCM-SIV of OpenSSL through cryptography 50.0.2. Run: pip install argon2-cffi cryptography; python make.py
"""

import hashlib
import hmac
import json
import pathlib

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

HERE = pathlib.Path(__file__).parent


def write(name, about, cases):
    (HERE / name).write_text(json.dumps({"about": about, "cases": cases}, indent=2) + "\n")


def pattern(length, start):
    return bytes((start + 7 * index) % 256 for index in range(length))


def presets():
    cases = []
    # The last has Heavy's passes and lanes in a thousandth of its memory.
    for preset, memory_kib, passes, lanes in [(1, 19456, 2, 1), (2, 65536, 3, 1), (None, 2048, 1, 4)]:
        for start in [0, 200]:
            given = pattern(64, start)
            made = hash_secret_raw(given, bytes(16), passes, memory_kib, lanes, 64, Type.ID, 0x13)
            cases.append({
                "preset": preset, "memory_kib": memory_kib, "passes": passes, "lanes": lanes,
                "input": given.hex(), "output": made.hex(),
            })
    return cases


def hkdf_expand(prk, info, length):
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha512).digest()
        out, counter = out + block, counter + 1
    return out[:length]


def wrapped():
    cases = []
    for start in [1, 77]:
        export_key, account = pattern(64, start), pattern(32, start + 3)
        backup_key, nonce = pattern(32, start + 5), pattern(12, start + 9)
        keys = hkdf_expand(export_key, b"strongroom wrapped key v1", 64)
        sealed = AESGCMSIV(keys[:32]).encrypt(nonce, backup_key, b"\x01" + account)
        cases.append({
            "export_key": export_key.hex(), "account": account.hex(), "backup_key": backup_key.hex(),
            "nonce": nonce.hex(), "wrapped": (b"\x01" + keys[32:] + nonce + sealed).hex(),
        })
    return cases


write("argon2id-presets.json", "Argon2id v0x13, salt of 16 zero bytes, 64-byte input and output, by preset byte (null: the shape of preset 3)", presets())
write("wrapped-v1.json", "version, commitment, nonce, AES-256-GCM-SIV ciphertext and tag of a backup key", wrapped())
