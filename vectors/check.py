"""Checks the vectors of this folder without a line of the crate: what an implementer of another vault or client starts from.

`specs.py` is written from the specifications and held against published answers first; then it judges what the crate wrote.
`verify.py` is a verifier of a fleet's keys by `trust/README.md`, and must come to what each case there says.

    python3 vectors/check.py            # all of it; says what was checked, and fails on the first answer that differs

    python3 vectors/check.py --quick    # without the presets of Argon2id that take minutes in plain Python

`ledger_specs.py` has the rules of attempts a second time, `attestation_specs.py` judges the documents of enclaves.
"""

import json
import pathlib
import sys
from concurrent.futures import ProcessPoolExecutor

import argon2_specs
import attestation_specs
import channel_specs
import ledger_specs
import verify
from specs import (
    BASE,
    Config,
    Differs,
    Point,
    Unproven,
    blinded,
    client_finishes,
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
    sha512,
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


def is_element(encoded):
    return Point.decode(encoded) is not None and encoded != bytes(32)


def check_negative():
    """Messages that a vault or a client must not take, beside some that it must."""
    it = load("opaque/negative.json")
    login = {name: bytes.fromhex(value) for name, value in it["login"].items()}
    config = Config(load("rfc9807-ristretto255.json")[0])
    same("the context that is agreed on", config.context, login["context"])

    def proves(message, password):
        try:
            client_finishes(config, password, scalar(login["blind"]), scalar(login["client_keyshare_secret"]), login["KE1"], message)
        except Unproven:
            return False
        return True

    judges = {
        "vault: registration request": lambda it, _: len(it) == 32 and is_element(it),
        "vault: registration record": lambda it, _: len(it) == 192 and is_element(it[:32]),
        "vault: KE1": lambda it, _: len(it) == 96 and is_element(it[:32]) and is_element(it[64:]),
        "vault: KE3": lambda it, _: it == login["expected_KE3"],
        "client: KE2": proves,
    }
    for case in it["cases"]:
        message, password = bytes.fromhex(case["message"]), bytes.fromhex(case.get("password", login["password"].hex()))
        same(f"{case['judge']}, {case['name']}: taken", judges[case["judge"]](message, password), case["accepts"])
    return len(it["cases"])


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


def check_chacha20_poly1305():
    """RFC 8439 section 2.8.2."""
    key, nonce = bytes(range(0x80, 0xA0)), bytes.fromhex("070000004041424344454647")
    sealed = bytes.fromhex(
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
        "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691"
    )
    said = channel_specs.chacha20_poly1305_open(key, nonce, sealed, bytes.fromhex("50515253c0c1c2c3c4c5c6c7"))
    same("what RFC 8439 seals", said and said[:39], b"Ladies and Gentlemen of the class of '9")
    return 1


def check_x25519():
    """RFC 7748 section 5.2."""
    private = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    coordinate = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    shared = channel_specs.x25519(private, coordinate).hex()
    same("what RFC 7748 says", shared, "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")
    return 1


def reply_key(exporter, encapsulated, nonce):
    """RFC 9458 section 4.4."""
    exported = channel_specs.labeled_expand(exporter, b"sec", b"strongroom channel response v1", 32)
    prk = channel_specs.extract(encapsulated + nonce, exported)
    return channel_specs.expand(prk, b"key", 32), channel_specs.expand(prk, b"nonce", 12)


def check_channel():
    cases = load("channel/channel-v1.json")["cases"]
    for at, case in enumerate(cases):
        it = {name: bytes.fromhex(value) for name, value in case.items() if isinstance(value, str)}
        header, sealed, body = (it["sealed_request"][a:b] for a, b in ((0, 7), (7, 1127), (1127, None)))
        same(f"the head of request {at}", header, b"\x01" + case["number"].to_bytes(2, "big") + case["epoch"].to_bytes(4, "big"))
        info = b"strongroom channel request v1\x00" + header + it["bundle"]
        key, base_nonce, exporter = channel_specs.hpke_context(it["seed"], sealed, info)
        same(f"request {at}", channel_specs.chacha20_poly1305_open(key, base_nonce, body), it["request"])
        key, nonce = reply_key(exporter, sealed, it["sealed_reply"][:32])
        same(f"reply {at}", channel_specs.chacha20_poly1305_open(key, nonce, it["sealed_reply"][32:]), it["reply"])
        # What was altered gives another secret, and opens nothing.
        other = bytes([sealed[0] ^ 1]) + sealed[1:]
        key, base_nonce, _ = channel_specs.hpke_context(it["seed"], other, info)
        same(f"request {at}, altered", channel_specs.chacha20_poly1305_open(key, base_nonce, body), None)
    return len(cases)


def opens_ticket(kind, it):
    sealed, header = it["ticket"], b"\x01" + it["number"].to_bytes(2, "big")
    associated = bytes([kind]) + header + it["fleet"] + it["restores"].to_bytes(4, "big") + it["account"]
    return sealed[:3] == header and opened(it["key"], sealed[3:], associated) is not None


def opens_under_epoch(it, header, purpose, associated):
    epoch = it["epoch"].to_bytes(4, "big")
    if it["sealed"][:5] != b"\x01" + epoch:
        return False
    key = hmac_sha512(it["root"], b"strongroom epoch v1", epoch, b"\x01")
    head, body = it["sealed"][:header], it["sealed"][header:]
    return opened(hkdf_expand(key, purpose, 64), body, head + associated) is not None


def opens_record(it):
    generation = it["generation"].to_bytes(4, "big")
    return opens_under_epoch(it, 7, b"record" + it["account"] + generation, it["account"] + generation + b"record")


def opens_blob(it):
    purpose = b"blob" + it["purpose"].encode()
    return opens_under_epoch(it, 5, purpose, purpose)


def opens_delivery(it):
    key, sealed = hkdf_expand(it["session_key"], b"strongroom delivery v1", 32), it["delivery"]
    return len(sealed) == 542 and gcm_siv_open(key, sealed[:12], it["account"], sealed[12:]) is not None


def opens_request(it):
    sealed, header = it["sealed_request"], b"\x01" + it["number"].to_bytes(2, "big") + it["epoch"].to_bytes(4, "big")
    if len(sealed) != 2146 or sealed[:7] != header:
        return False
    info = b"strongroom channel request v1\x00" + header + it["bundle"]
    key, base_nonce, _ = channel_specs.hpke_context(it["seed"], sealed[7:1127], info)
    return channel_specs.chacha20_poly1305_open(key, base_nonce, sealed[1127:]) is not None


def opens_reply(it):
    sealed, header = it["sealed_request"], b"\x01" + it["number"].to_bytes(2, "big") + it["epoch"].to_bytes(4, "big")
    if len(it["sealed_reply"]) != 604:
        return False
    info = b"strongroom channel request v1\x00" + header + it["bundle"]
    _, _, exporter = channel_specs.hpke_context(it["seed"], sealed[7:1127], info)
    key, nonce = reply_key(exporter, sealed[7:1127], it["sealed_reply"][:32])
    return channel_specs.chacha20_poly1305_open(key, nonce, it["sealed_reply"][32:]) is not None


def opens_row(it):
    row, chain = it["row"][:-32], it["row"][-32:]
    chain_key = hkdf_expand(it["journal_key"], b"strongroom journal v1 chain", 64)
    if row[:1] != b"\x01" or hmac_sha512(chain_key, it["chain"], row)[:32] != chain:
        return False
    # Behind the version, the leader's term and number.
    reader = ledger_specs.Reader(row[17:])
    index, _, kind, commands = (reader.number(width) for width in (8, 8, 1, 4))
    if index != it["index"] or kind != 1:
        return False
    try:
        for _ in range(commands):
            ledger_specs.COMMANDS[reader.number(1)](reader)
    except (AssertionError, KeyError):
        return False
    return reader.is_done()


def check_sealed():
    """What is sealed or chained, and is altered or in another place, beside what it was."""
    opens = {
        "login ticket": lambda it: opens_ticket(1, it),
        "enrolment ticket": lambda it: opens_ticket(2, it),
        "record": opens_record,
        "blob": opens_blob,
        "delivery": opens_delivery,
        "channel request": opens_request,
        "channel reply": opens_reply,
        "journal row": opens_row,
    }
    cases = load("sealed/negative.json")["cases"]
    for case in cases:
        words = ("judge", "name", "purpose")
        it = {name: value if name in words or not isinstance(value, str) else bytes.fromhex(value) for name, value in case.items()}
        same(f"{case['judge']}, {case['name']}: opens", opens[case["judge"]](it), case["accepts"])
    return len(cases)


def check_ledger():
    """Every kind of command, and the state that they lead to; then one that accounts come to."""
    it = dict(fields("ledger.txt"))
    state, reader, commands = ledger_specs.State(ledger_specs.Policy(it["policy"])), ledger_specs.Reader(it["commands"]), []
    state.advance(1_800_000_000)
    while not reader.is_done():
        begun = reader.at
        state.apply(reader)
        commands.append(it["commands"][begun : reader.at])
    same("the state that the commands lead to", state.write(), it["state"])
    kinds = {command[0] for command in commands}
    same("kinds of command that were applied", kinds, set(ledger_specs.COMMANDS))
    # Accounts come last.
    arrive = commands[-1]
    other = ledger_specs.State(ledger_specs.Policy(it["policy"]))
    other.advance(1_800_000_000)
    for command in (b"\x0f" + arrive[1:33], arrive):
        same("a command of those that come", other.apply(ledger_specs.Reader(command)), "done")
    same("the state that accounts come to", other.write(), it["taken"])
    return len(commands)


def in_bytes(words):
    """A line of a scenario as a command's encoding."""
    u16, u32, u64 = ledger_specs.u16, ledger_specs.u32, ledger_specs.u64
    kind, *rest = words.split(" ")
    id = rest[0].encode() * 32
    numbers = [int(it) for it in rest if it.isdigit()]

    def digest(text):
        key, byte = text.split(":")
        return u16(int(key)) + bytes([int(byte)]) * 16

    def sealed(epoch, key):
        head = b"\x01" + u32(epoch) + u16(key)
        return head + bytes(ledger_specs.SEALED_LEN - len(head))

    if kind == "charge":
        older = b"\x01" + digest(rest[2]) if rest[2:] else b"\x00"
        return b"\x01" + id + digest(rest[1]) + older
    if kind == "clear":
        return b"\x02" + id + u32(numbers[0]) + u32(numbers[1]) + u64(numbers[2])
    if kind == "enrol":
        generation, expiry_s, finish, epoch, key = numbers
        return b"\x03" + id + u32(generation) + u64(expiry_s) + bytes([finish]) * 32 + sealed(epoch, key)
    if kind == "remove":
        proof = b"\x01" + u32(numbers[1]) + u64(numbers[2]) if numbers[1:] else b"\x00"
        return b"\x04" + id + u32(numbers[0]) + proof
    if kind == "rewrap":
        generation, rewraps, epoch, key = numbers
        return b"\x07" + id + u32(generation) + u32(rewraps) + sealed(epoch, key)
    if kind == "signers":
        pairs = [[int(it) for it in pair.split(":")] for pair in rest]
        return b"\x12" + b"".join(bytes([one]) * 32 + bytes([other]) * 32 + u32(epoch) for one, other, epoch in pairs) + u32(0)
    return {
        "sweep": lambda: b"\x05" + id,
        "forget": lambda: b"\x06" + u16(numbers[0]),
        "raise-epoch": lambda: b"\x08" + u32(numbers[0]),
        "pardon": lambda: b"\x09" + id + u32(numbers[0]),
        "restore": lambda: b"\x0a" + u32(numbers[0]),
        "raise-key": lambda: b"\x0c" + u16(numbers[0]),
    }[kind]()


def check_scenarios():
    state, checked = None, 0
    for number, line in enumerate((HERE / "ledger-scenarios.txt").read_text().splitlines(), 1):
        asked, _, answer = line.partition(" -> ")
        kind, _, rest = line.partition(" ")
        if kind == "policy":
            state = ledger_specs.State(ledger_specs.Policy(bytes.fromhex(rest)))
        elif kind == "time":
            state.advance(int(rest))
        elif kind == "state":
            same(f"line {number}: the state", state.write().hex(), rest)
        elif answer:
            same(f"line {number}: {asked}", state.apply(ledger_specs.Reader(in_bytes(asked))), answer)
            checked += 1
    return checked


# ---- the client's files

WRAPPED_LEN = 1 + 32 + 12 + 32 + 16


def unwrapped(wrapping_key, label, associated, wrapped):
    """The backup key, of version, commitment, nonce and ciphertext; None where it does not open."""
    keys = hkdf_expand(wrapping_key, label, 64)
    if len(wrapped) != WRAPPED_LEN or wrapped[0] != 1 or wrapped[1:33] != keys[32:]:
        return None
    return gcm_siv_open(keys[:32], wrapped[33:45], associated, wrapped[45:])


def check_wrapped():
    cases = load("client/wrapped-v1.json")["cases"]
    for at, case in enumerate(cases):
        it = {name: bytes.fromhex(value) for name, value in case.items()}

        def opens(wrapped, it=it):
            return unwrapped(it["export_key"], b"strongroom wrapped key v1", b"\x01" + it["account"], wrapped)

        same(f"wrapped key {at}", opens(it["wrapped"]), it["backup_key"])
        every_flip(f"wrapped key {at}", it["wrapped"], opens)
    return len(cases)


def damm(start, digits):
    """The check digit of a row of a recovery key, by H. Michael Damm's quasigroup of order ten; 0 if one is at the end."""
    table = "0317598642709215486342068713591750983426612304597836742095815869720134894536201794386172052581436790"
    interim = start
    for digit in digits:
        interim = int(table[10 * interim + int(digit)])
    return interim


def check_keyrings():
    cases = load("client/keyring-v1.json")["cases"]
    for at, case in enumerate(cases):
        keyring, backup_key = bytes.fromhex(case["keyring"]), bytes.fromhex(case["backup_key"])
        body, seal = keyring[:-32], keyring[-32:]
        identity, ways, rest = body[1:17], body[17], body[18:]
        sealing = hkdf_expand(backup_key, b"strongroom keyring seal v1" + identity, 64)
        same(f"the seal of keyring {at}", seal, hmac_sha512(sealing, body)[:32])
        same(f"the input of its passkeys {at}", sha512(b"strongroom keyring passkey salt v1", identity)[:32].hex(), case["prf_input"])
        passkeys = iter(case["passkeys"])
        for _ in range(ways):
            kind, rest = rest[0], rest[1:]
            if kind == 1:
                said = (rest[:32].hex(), rest[32:64].hex(), int.from_bytes(rest[64:68], "big"))
                same(f"the code's place in keyring {at}", said, (case["fleet"], case["account"], case["generation"]))
                rest = rest[68:]
                continue
            if kind == 2:
                rows = case["recovery_key"].splitlines()
                same(f"the check digits of recovery key {at}", [damm(row, digits) for row, digits in enumerate(rows)], [0] * 8)
                key = hmac_sha512(b"strongroom recovery key v1", bytes(int(digit) for row in rows for digit in row))
                label, associated = b"strongroom keyring recovery key v1", identity
            else:
                passkey, parts = next(passkeys), []
                for _ in range(2):
                    length = int.from_bytes(rest[:4], "big")
                    parts, rest = [*parts, rest[4 : 4 + length]], rest[4 + length :]
                same(f"a passkey of keyring {at}", (parts[0].decode(), parts[1].hex()), (passkey["label"], passkey["credential_id"]))
                key = hmac_sha512(b"strongroom passkey v1", bytes.fromhex(passkey["prf_output"]))
                label, associated = b"strongroom keyring passkey v1", identity + parts[1]
            wrapped, rest = rest[:WRAPPED_LEN], rest[WRAPPED_LEN:]
            same(f"way {kind} into keyring {at}", unwrapped(key, label, associated, wrapped), backup_key)
        same(f"what is behind the ways of keyring {at}", rest, b"")
    return len(cases)


# ---- what stretches a code


def check_argon2():
    """RFC 9106 section 5.3."""
    given = bytes([1]) * 32, bytes([2]) * 16, 3, 32, 4, 32, bytes([3]) * 8, bytes([4]) * 12
    tag = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    same("what RFC 9106 says", argon2_specs.argon2id(*given).hex(), tag)
    return 1


def stretched(case):
    shape = case["passes"], case["memory_kib"], case["lanes"]
    return argon2_specs.argon2id(bytes.fromhex(case["input"]), bytes(16), *shape, 64).hex()


def check_presets(most_kib):
    cases = [it for it in load("client/argon2id-presets.json")["cases"] if it["memory_kib"] <= most_kib]
    # The longest first.
    cases.sort(key=lambda it: -it["memory_kib"] * it["passes"])
    with ProcessPoolExecutor() as pool:
        for case, output in zip(cases, pool.map(stretched, cases)):
            same(f"preset {case['preset']} of {case['input'][:8]}…", output, case["output"])
    return len(cases)


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


def check_ecdsa():
    """RFC 6979 appendix A.2.6: SHA-384, of two messages."""
    key = (
        0xEC3A4E415B4E19A4568618029F427FA5DA9A8BC4AE92E02E06AAE5286B300C64DEF8F0EA9055866064A254515480BC13,
        0x8015D9B72D7D57244EA8EF9AC0C621896708A59367F9DFB9F54CA84B3F1C9DB1288B231C3AE0D4FE7344FD2533264720,
        1,
    )
    signature = (
        0x94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46,
        0x99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8,
    )
    same("what RFC 6979 says", attestation_specs.ecdsa_verifies(key, b"sample", *signature), True)
    same("its signature of another message", attestation_specs.ecdsa_verifies(key, b"test", *signature), False)
    return 2


def check_attestations():
    cases = sorted((HERE / "trust" / "attestations").glob("*.txt"))
    for path in cases:
        header, documents = verify.read_case(path)
        it = {name: content[0].strip() for name, content in documents.items()}
        same(f"attestation {path.stem}", judge_attestation(it), header["expect"] == "accepted")
    return len(cases)


def judge_attestation(it):
    root, artifact, document = (bytes.fromhex(it[name]) for name in ("root", "artifact", "document"))
    try:
        # `-` where the evidence names none.
        nonce = None if it["nonce"] == "-" else bytes.fromhex(it["nonce"])
    except ValueError:
        return False
    try:
        attestation_specs.attested(document, root, artifact, nonce)
    except attestation_specs.Refused:
        return False
    return True


def check_plexi():
    """What an auditor signs of an epoch: five fields of Protocol Buffers; in the older suite 2, which the crate refuses, of bincode."""
    cases = load("plexi-signature.json")
    for it in cases:
        digest, key, signature = (bytes.fromhex(it[name]) for name in ("digest", "verifying_key", "signature"))
        epoch, namespace = b"\x08" + varint(it["epoch"]), it["namespace"].encode()
        message = b"\x08" + varint(it["ciphersuite"]) + b"\x12" + varint(len(namespace)) + namespace
        message += b"\x18" + varint(it["timestamp"]) + b"\x22" + varint(len(epoch)) + epoch
        message += b"\x2a" + varint(len(digest)) + digest
        if it["ciphersuite"] == 2:
            numbers = [number.to_bytes(8, "little") for number in (len(namespace), it["timestamp"], it["epoch"], len(digest))]
            message = (2).to_bytes(4, "little") + numbers[0] + namespace + b"".join(numbers[1:]) + digest
        same(f"plexi's signature, suite {it['ciphersuite']}", ed25519_verifies(key, message, signature), True)
    return len(cases)


def varint(number):
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def main():
    quick = sys.argv[1:] == ["--quick"]
    if sys.argv[1:] and not quick:
        sys.exit(__doc__)
    parts = [
        ("RFC 9496, ristretto255", check_ristretto255),
        ("RFC 8032, Ed25519", check_ed25519),
        ("RFC 9497, the OPRF", check_oprf),
        ("RFC 9807, OPAQUE-3DH", check_opaque),
        ("messages of OPAQUE that are not to be taken", check_negative),
        ("Wycheproof, HKDF-SHA-512", lambda: check_wycheproof("wycheproof-hkdf_sha512_test.json", judge_hkdf)),
        ("Wycheproof, HMAC-SHA-512", lambda: check_wycheproof("wycheproof-hmac_sha512_test.json", judge_hmac)),
        ("Wycheproof, AES-256-GCM-SIV", lambda: check_wycheproof("wycheproof-aes_gcm_siv_test.json", judge_gcm_siv)),
        ("tickets", check_tickets),
        ("records and blobs at rest", check_records),
        ("deliveries", check_deliveries),
        ("sealed things, altered or in another place", check_sealed),
        ("rows of a journal", check_rows),
        ("RFC 8439, ChaCha20-Poly1305", check_chacha20_poly1305),
        ("RFC 7748, X25519", check_x25519),
        ("requests and replies of the channel", check_channel),
        ("commands of the ledger", check_ledger),
        ("steps of the ledger's scenarios", check_scenarios),
        ("RFC 9106, Argon2id", check_argon2),
        ("presets of Argon2id", lambda: check_presets(most_kib=2048 if quick else 65536)),
        ("wrapped backup keys", check_wrapped),
        ("keyrings", check_keyrings),
        ("statements of both signers", check_statements),
        ("bundles, logs and evidence", check_bundles),
        ("plexi, an auditor's signatures of an epoch", check_plexi),
        ("RFC 6979, ECDSA over P-384", check_ecdsa),
        ("attestations of enclaves", check_attestations),
    ]
    for name, check in parts:
        try:
            print(f"{check():>5}  {name}")
        except Differs as why:
            sys.exit(f"DIFFERS: {name}: {why}")
    print("all agree" + (", and what takes minutes was left out" if quick else ""))


if __name__ == "__main__":
    main()
