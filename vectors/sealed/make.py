"""Makes `negative.json`: what is sealed or chained, altered in each of its fields or brought to another place, beside what it was.

All from what the crate once wrote (`format-v1/`, `channel/`). Each case has everything that whoever opens it is given
(a ticket's time is the ledger's to look at: `ledger-scenarios.txt`); `check.py` opens
them by the specifications, and `tests/sealed_negative.rs` by the crate; replies and rows by the tests beside what reads them.
Run: python3 vectors/sealed/make.py
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
VECTORS = HERE.parent
sys.path.insert(0, str(VECTORS))
sys.dont_write_bytecode = True
from specs import hkdf_expand, hmac_sha512  # noqa: E402


def fields(name):
    """A text file of `name: hex` lines, but numbers as such."""
    lines = (VECTORS / "format-v1" / name).read_text().splitlines()
    numbers = ("generation", "epoch", "key_number", "ordinal", "expiry_s")
    read = {}
    for key, value in (line.split(": ") for line in lines[1:]):
        read[key] = int(value, 16) if key in numbers else value
    return read


def flipped(sealed, at):
    return (sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]).hex()


def otherwise(value):
    """Another of the same kind."""
    return value + 1 if isinstance(value, int) else flipped(bytes.fromhex(value), 0)


def cases(judge, given, sealed, parts, places, more=()):
    """The thing as it was; with a byte altered in each part, cut short, too long; and in each other place."""
    message = bytes.fromhex(given[sealed])

    def case(name, accepts=False, **changed):
        return {"judge": judge, "name": name, "accepts": accepts} | given | changed

    yield case("as it was", accepts=True)
    at = 0
    for part, length in parts:
        length = length or len(message) - at - sum(it for _, it in parts[parts.index((part, length)) + 1 :])
        ends = {"its first byte": at, "its last byte": at + length - 1}
        for which, byte in ends.items() if length > 1 else [("its byte", at)]:
            yield case(f"{part}: {which} altered", **{sealed: flipped(message, byte)})
        at += length
    assert at == len(message), (judge, at, len(message))
    yield case("a byte less", **{sealed: message[:-1].hex()})
    yield case("a byte more", **{sealed: (message + b"\x01").hex()})
    yield case("nothing", **{sealed: ""})
    for place in places:
        yield case(f"another {place.replace('_', ' ')}", **{place: otherwise(given[place])})
    for name, changed in more:
        yield case(name, **changed)


BODY = [("nonce", 12), ("commitment", 32), ("ciphertext", None), ("tag", 16)]
TICKET = [("version", 1), ("number of the key", 2), *BODY]


def ticket(judge, name, other):
    it, elsewhere = fields(name), fields(other)
    given = {it_name: it[it_name] for it_name in ("key", "fleet", "account", "ticket")}
    given |= {"number": int(it["ticket"][2:6], 16), "restores": 0}
    other_kind = {"ticket": elsewhere["ticket"], "key": elsewhere["key"], "number": int(elsewhere["ticket"][2:6], 16)}
    more = [("a ticket of the other kind", other_kind)]
    return cases(judge, given, "ticket", TICKET, ("key", "fleet", "account", "restores"), more)


def rows():
    """A journal's first row of commands, behind the chain of its policy."""
    _, key, *rows = (line.split(": ")[-1] for line in (VECTORS / "format-v1" / "rows.txt").read_text().splitlines())
    given = {"journal_key": key, "index": 1, "chain": rows[0][-64:], "row": rows[1]}
    parts = [("version", 1), ("term", 8), ("leader", 8), ("index", 8), ("time", 8), ("kind", 1), ("count", 4), ("commands", None), ("chain", 32)]
    chain_key = hkdf_expand(bytes.fromhex(key), b"strongroom journal v1 chain", 64)

    def chained(at, value, behind=b""):
        """With this at that place, and a chain that holds."""
        row = bytes.fromhex(rows[1])[:-32]
        row = row[:at] + value + row[at + len(value) :] + behind
        return {"row": (row + hmac_sha512(chain_key, bytes.fromhex(given["chain"]), row)[:32]).hex()}

    more = [
        ("the row before it", {"row": rows[0]}),
        ("the row behind it", {"row": rows[2]}),
        ("chained, and of another version", chained(0, b"\x02")),
        ("chained, and of another place", chained(17, (2).to_bytes(8, "big"))),
        ("chained, and a policy", chained(33, b"\x00")),
        ("chained, and of a kind that nobody knows", chained(33, b"\x02")),
        ("chained, and a command fewer than it says", chained(34, (4).to_bytes(4, "big"))),
        ("chained, and a command more than it says", chained(34, (2).to_bytes(4, "big"))),
        ("chained, and a command that nobody knows", chained(38, b"\xff")),
        ("chained, and a byte behind its commands", chained(0, b"\x01", b"\x00")),
    ]
    yield from cases("journal row", given, "row", parts, ("journal_key", "index", "chain"), more)


def main():
    every = [
        *ticket("login ticket", "login-ticket.txt", "enrolment-ticket.txt"),
        *ticket("enrolment ticket", "enrolment-ticket.txt", "login-ticket.txt"),
    ]
    it = fields("sealed-record.txt")
    given = {name: it[name] for name in ("root", "epoch", "account", "generation", "sealed")}
    parts = [("version", 1), ("epoch", 4), ("number of the server key", 2), *BODY]
    every += cases("record", given, "sealed", parts, ("root", "epoch", "account", "generation"))
    it = fields("sealed-blob.txt")
    given = {name: it[name] for name in ("root", "epoch", "sealed")} | {"purpose": "fleet keys"}
    parts = [("version", 1), ("epoch", 4), *BODY]
    more = [("another purpose", {"purpose": "member epochs"})]
    every += cases("blob", given, "sealed", parts, ("root", "epoch"), more)
    it = fields("delivery.txt")
    given = {name: it[name] for name in ("session_key", "account")} | {"delivery": it["reply"][6 : 2 * 545]}
    parts = [("nonce", 12), ("ciphertext", None), ("tag", 16)]
    every += cases("delivery", given, "delivery", parts, ("session_key", "account"))
    it = json.loads((VECTORS / "channel" / "channel-v1.json").read_text())["cases"][0]
    given = {name: it[name] for name in ("seed", "number", "epoch", "bundle", "sealed_request")}
    parts = [("version", 1), ("number of the key", 2), ("epoch", 4), ("ML-KEM ciphertext", 1088), ("X25519 share", 32), ("ciphertext", None), ("tag", 16)]
    every += cases("channel request", given, "sealed_request", parts, ("seed", "number", "epoch", "bundle"))
    answered = {name: it[name] for name in (*given, "sealed_reply")}
    elsewhere = json.loads((VECTORS / "channel" / "channel-v1.json").read_text())["cases"][1]
    more = [("a reply to another request", {"sealed_reply": elsewhere["sealed_reply"]})]
    every += cases("channel reply", answered, "sealed_reply", [("nonce", 32), ("ciphertext", None), ("tag", 16)], (), more)
    every += rows()
    (HERE / "negative.json").write_text(json.dumps({"cases": every}, indent=1) + "\n")


if __name__ == "__main__":
    main()
