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


def wrap(wrapping_key, label, associated, backup_key, nonce):
    keys = hkdf_expand(wrapping_key, label, 64)
    return b"\x01" + keys[32:] + nonce + AESGCMSIV(keys[:32]).encrypt(nonce, backup_key, associated)


def keyrings():
    """With every way in: a code, a recovery key whose rows' checks were computed by hand, two passkeys."""
    cases = []
    for start in [3, 150]:
        identity, backup_key = pattern(16, start), pattern(32, start + 1)
        fleet, account, generation = pattern(32, start + 2), pattern(32, start + 3), 7 + start
        rows = ["".join(str((start + 3 * row + 5 * at) % 10) for at in range(7)) for row in range(8)]
        rows = [row + str(damm(number, row)) for number, row in enumerate(rows)]
        digits = [int(digit) for row in rows for digit in row]
        paper = hmac.new(b"strongroom recovery key v1", bytes(digits), hashlib.sha512).digest()
        paper = wrap(paper, b"strongroom keyring recovery key v1", identity, backup_key, pattern(12, start + 4))
        passkeys, body = [], b""
        for number, label in enumerate(["phone", "cl\u00e9"]):
            credential, output = pattern(16 + 48 * number, start + 5 + number), pattern(32, start + 9 + number)
            key = hmac.new(b"strongroom passkey v1", output, hashlib.sha512).digest()
            nonce = pattern(12, start + 11 + number)
            wrapped = wrap(key, b"strongroom keyring passkey v1", identity + credential, backup_key, nonce)
            body += b"\x03" + counted(label.encode()) + counted(credential) + wrapped
            passkeys.append({"label": label, "credential_id": credential.hex(), "prf_output": output.hex()})
        body = (b"\x01" + identity + b"\x04" + b"\x01" + fleet + account + generation.to_bytes(4, "big")
                + b"\x02" + paper + body)
        seal = hkdf_expand(backup_key, b"strongroom keyring seal v1" + identity, 64)
        seal = hmac.new(seal, body, hashlib.sha512).digest()[:32]
        prf_input = hashlib.sha512(b"strongroom keyring passkey salt v1" + identity).digest()[:32]
        cases.append({
            "backup_key": backup_key.hex(), "recovery_key": "\n".join(rows), "passkeys": passkeys,
            "prf_input": prf_input.hex(), "fleet": fleet.hex(), "account": account.hex(), "generation": generation,
            "keyring": (body + seal).hex(),
        })
    return cases


def counted(data):
    return len(data).to_bytes(4, "big") + data


def damm(start, digits):
    """H. Michael Damm's quasigroup of order ten, from his dissertation."""
    table = ["0317598642", "7092154863", "4206871359", "1750983426", "6123045978",
             "3674209581", "5869720134", "8945362017", "9438617205", "2581436790"]
    interim = start
    for digit in digits:
        interim = int(table[interim][int(digit)])
    return interim


write("argon2id-presets.json", "Argon2id v0x13, salt of 16 zero bytes, 64-byte input and output, by preset byte (null: the shape of preset 3)", presets())
write("wrapped-v1.json", "version, commitment, nonce, AES-256-GCM-SIV ciphertext and tag of a backup key", wrapped())
write("keyring-v1.json", "keyrings with every way in, and what opens them", keyrings())
