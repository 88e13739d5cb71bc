"""Checks the vectors of this folder without a line of the crate: what an implementer of another vault or client starts from.

`specs.py` is written from the specifications and held against published answers first; then it judges what the crate wrote.
`verify.py` is a verifier of a fleet's keys by `trust/README.md`, and must come to what each case there says.

    python3 vectors/check.py            # all of it; says what was checked, and fails on the first answer that differs

What is not checked here yet: the channel and the client's files, which implementations other than ours make (channel/make.py,
client/make.py); attestations; the ledger.
"""

import json
import pathlib
import sys

import verify
from specs import (
    BASE,
    Differs,
    Point,
    blinded,
    derive_key_pair,
    ed25519_verifies,
    finalized,
    gcm_siv_open,
    hkdf_expand,
    hkdf_extract,
    hmac_sha512,
    opaque_of,
    opaque_of_nobody,
    same,
    scalar,
)

HERE = pathlib.Path(__file__).parent

# ---- what was published


def load(name):
    return json.loads((HERE / name).read_text())


def check_ristretto255():
    vectors, element = load("rfc9496-ristretto255.json"), Point(0, 1)
    for number, expected in enumerate(vectors["multiples"]):
        same(f"{number} times the generator", element.encode().hex(), expected)
        same(f"{number} times the generator, at once", (number * BASE).encode().hex(), expected)
        element = element + BASE
    invalid = [(why, it) for why, all_of_it in vectors["invalid"].items() for it in all_of_it]
    for why, encoded in invalid:
        same(f"{why}: {encoded}", Point.decode(bytes.fromhex(encoded)), None)
    for case in vectors["uniform"]:
        same("the one-way map", Point.of_uniform(bytes.fromhex(case["input"])).encode().hex(), case["element"])
    return len(vectors["multiples"]) + len(invalid) + len(vectors["uniform"])


def check_ed25519():
    """RFC 8032 section 7.1, test 1: the empty message."""
    key = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    signature = bytes.fromhex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    same("a signature of RFC 8032", ed25519_verifies(key, b"", signature), True)
    for altered in (b"another message", b"\0"):
        same("the same under another message", ed25519_verifies(key, altered, signature), False)
    return 1


def check_oprf():
    checked = 0
    for suite in load("rfc9497-ristretto255-oprf.json"):
        key, _ = derive_key_pair(bytes.fromhex(suite["seed"]), bytes.fromhex(suite["keyInfo"]))
        same("the OPRF's key", key.to_bytes(32, "little").hex(), suite["skSm"])
        for case in suite["vectors"]:
            message, blind = bytes.fromhex(case["Input"]), scalar(bytes.fromhex(case["Blind"]))
            element = blinded(message, blind)
            evaluated = key * element
            same("the blinded element", element.encode().hex(), case["BlindedElement"])
            same("the evaluated element", evaluated.encode().hex(), case["EvaluationElement"])
            same("the output", finalized(message, blind, evaluated).hex(), case["Output"])
            checked += 1
    return checked


def check_opaque():
    vectors = load("rfc9807-ristretto255.json")
    for number, vector in enumerate(vectors, 1):
        fake = str(vector["config"]["Fake"]) == "True"
        found = opaque_of_nobody(vector) if fake else opaque_of(vector)
        for name, expected in (vector.get("intermediates", {}) | vector["outputs"]).items():
            if name in found or not fake:
                same(f"OPAQUE, vector {number}: {name}", found[name].hex(), expected)
    return len(vectors)


def check_wycheproof(name, judge):
    checked = 0
    for group in load(name)["testGroups"]:
        for case in group["tests"]:
            fields = {key: bytes.fromhex(value) for key, value in case.items() if key not in ("tcId", "comment", "flags", "result", "size")}
            agrees = judge(group, case, fields)
            if agrees is not None:
                same(f"{name}, test {case['tcId']} ({case['comment']})", agrees, case["result"] == "valid")
                checked += 1
    return checked


def judge_hkdf(_, case, it):
    if case["size"] > 255 * 64:
        return False
    return hkdf_expand(hkdf_extract(it["salt"], it["ikm"]), it["info"], case["size"]) == it["okm"]


def judge_hmac(group, _, it):
    return hmac_sha512(it["key"], it["msg"])[: group["tagSize"] // 8] == it["tag"]


def judge_gcm_siv(group, _, it):
    if group["keySize"] != 256 or group["ivSize"] != 96:
        return None
    return gcm_siv_open(it["key"], it["iv"], it["aad"], it["ct"] + it["tag"]) == it["msg"]


# ---- what this crate writes


def fields(name):
    """A text file of `name: hex` lines, in order; a name may be there more than once."""
    lines = (HERE / "format-v1" / name).read_text().splitlines()
    return [(key, bytes.fromhex(value)) for key, value in (line.split(": ") for line in lines[1:])]


def opened(secret, body, associated):
    """A body of nonce, commitment, ciphertext and tag, under the key that a secret commits to."""
    nonce, commitment, sealed = body[:12], body[12:44], body[44:]
    if hkdf_expand(secret, b"commit", 32) != commitment:
        return None
    return gcm_siv_open(hkdf_expand(secret, b"key", 32), nonce, associated, sealed)


def every_flip(name, body, opens):
    """A byte that is altered anywhere makes it another: the control of what opens."""
    for at in range(0, len(body), max(1, len(body) // 16)):
        same(f"{name} with byte {at} altered", opens(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]), None)


def check_tickets():
    for name, kind, plain_of in (
        ("login-ticket.txt", 1, lambda it: it["generation"][4:] + it["expiry_s"] + it["key_number"][6:] + it["ordinal"][4:] + it["state"]),
        ("enrolment-ticket.txt", 2, lambda it: it["generation"][4:] + it["expiry_s"] + it["key_number"][6:] + it["transcript"] + it["nonce"]),
    ):
        it = dict(fields(name))
        header, body = it["ticket"][:3], it["ticket"][3:]
        # Kind, version and key number, fleet, restores, account.
        associated = bytes([kind]) + header + it["fleet"] + bytes(4) + it["account"]
        same(name, opened(it["key"], body, associated), plain_of(it))
        every_flip(name, body, lambda other: opened(it["key"], other, associated))
        restored = bytes([kind]) + header + it["fleet"] + bytes([0, 0, 0, 1]) + it["account"]
        same(f"{name} after a restore", opened(it["key"], body, restored), None)
    return 2


def epoch_key(it):
    epoch = it["epoch"][4:]
    return epoch, hmac_sha512(it["root"], b"strongroom epoch v1", epoch, b"\x01")


def check_records():
    it = dict(fields("sealed-record.txt"))
    epoch, key = epoch_key(it)
    header, body = it["sealed"][:7], it["sealed"][7:]
    same("a record's header", header, b"\x01" + epoch + it["key_number"][6:])
    generation = it["generation"][4:]
    secret = hkdf_expand(key, b"record" + it["account"] + generation, 64)
    associated = header + it["account"] + generation + b"record"
    same("a sealed record", opened(secret, body, associated), it["plain"])
    every_flip("a sealed record", body, lambda other: opened(secret, other, associated))

    it = dict(fields("sealed-blob.txt"))
    epoch, key = epoch_key(it)
    header, body = it["sealed"][:5], it["sealed"][5:]
    same("a blob's header", header, b"\x01" + epoch)
    secret = hkdf_expand(key, b"blob" + b"fleet keys", 64)
    same("a sealed blob", opened(secret, body, header + b"blob" + b"fleet keys"), it["plain"])
    return 2


def check_deliveries():
    it = dict(fields("delivery.txt"))
    # A reply is a version, what it is, the delivery, and zeros up to the length that all replies have.
    delivery, rest = it["reply"][3:545], it["reply"][545:]
    same("what fills a reply up", rest, bytes(11))
    key = hkdf_expand(it["session_key"], b"strongroom delivery v1", 32)
    plain = gcm_siv_open(key, delivery[:12], it["account"], delivery[12:])
    length = len(it["secret"])
    same("a delivery", plain, length.to_bytes(2, "big") + it["secret"] + bytes(512 - length))
    return 1


def check_rows():
    (_, journal_key), *rows = fields("rows.txt")
    chain_key = hkdf_expand(journal_key, b"strongroom journal v1 chain", 64)
    chain = bytes(32)
    for index, (_, row) in enumerate(rows):
        same(f"the version of row {index}", row[0], 1)
        # Behind the version: the leader's term and number, the index.
        same(f"the index of row {index}", int.from_bytes(row[17:25], "big"), index)
        chain = hmac_sha512(chain_key, chain, row[:-32])[:32]
        same(f"the chain at row {index}", row[-32:], chain)
    return len(rows)


# ---- what both signers say, and the keys of a fleet


def check_statements():
    cases = sorted((HERE / "trust" / "statements").glob("*.txt"))
    for path in cases:
        good, expected = verify.judge_statement(path)
        same(f"statement {path.stem}", good, expected)
    return len(cases)


def check_bundles():
    cases = sorted((HERE / "trust").glob("*.txt"))
    for path in cases:
        accepted, expected, why = verify.judge(path)
        same(f"{path.stem}: accepted{why and f', but for: {why}'}", accepted, expected)
    return len(cases)


def main():
    parts = [
        ("RFC 9496, ristretto255", check_ristretto255),
        ("RFC 8032, Ed25519", check_ed25519),
        ("RFC 9497, the OPRF", check_oprf),
        ("RFC 9807, OPAQUE-3DH", check_opaque),
        ("Wycheproof, HKDF-SHA-512", lambda: check_wycheproof("wycheproof-hkdf_sha512_test.json", judge_hkdf)),
        ("Wycheproof, HMAC-SHA-512", lambda: check_wycheproof("wycheproof-hmac_sha512_test.json", judge_hmac)),
        ("Wycheproof, AES-256-GCM-SIV", lambda: check_wycheproof("wycheproof-aes_gcm_siv_test.json", judge_gcm_siv)),
        ("tickets", check_tickets),
        ("records and blobs at rest", check_records),
        ("deliveries", check_deliveries),
        ("rows of a journal", check_rows),
        ("statements of both signers", check_statements),
        ("bundles, logs and evidence", check_bundles),
    ]
    for name, check in parts:
        try:
            print(f"{check():>5}  {name}")
        except Differs as why:
            sys.exit(f"DIFFERS: {name}: {why}")
    print("all agree")


if __name__ == "__main__":
    main()
