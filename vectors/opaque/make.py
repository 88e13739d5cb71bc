"""Makes `negative.json`: messages of OPAQUE that a vault or a client must not take, beside some that it must.

All are made from the first vector of RFC 9807 (appendix C) by `specs.py`, which shares no line with the crate; `check.py` judges them
by it, and `tests/opaque_negative.rs` has the crate judge those to a vault and opaque-ke those to a client.
Run: python3 vectors/opaque/make.py
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from specs import (  # noqa: E402  (after the path that they are found on)
    Config,
    Point,
    client_finishes,
    derive_auth_key_pair,
    hmac_sha512,
    opaque_of,
    oprf_key,
    scalar,
    server_answers,
    sha512,
)

VECTOR = json.loads((HERE.parent / "rfc9807-ristretto255.json").read_text())[0]
INVALID = json.loads((HERE.parent / "rfc9496-ristretto255.json").read_text())["invalid"]
IDENTITY = bytes(32)


def flipped(message, at):
    return message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]


def with_element(message, at, element):
    return message[:at] + element + message[at + 32 :]


def bad_elements():
    """Encodings that RFC 9496 does not decode, one of each kind, and the identity, which no message may have."""
    kinds = {kind.split(",")[0]: bytes.fromhex(all_of_it[0]) for kind, all_of_it in INVALID.items()}
    return kinds | {"identity": IDENTITY}


def answered(config, record, changed):
    """KE2 of a server for which some inputs are others."""
    other = Config(VECTOR)
    other.given = config.given | changed
    other.context = changed.get("context", config.context)
    other.client_identity, other.server_identity = changed.get("client_identity"), changed.get("server_identity")
    inner, mac, _ = server_answers(other, oprf_key(other.given), record, bytes.fromhex(VECTOR["outputs"]["KE1"]))
    return inner + mac


def main():
    config, found = Config(VECTOR), opaque_of(VECTOR)
    given, out = config.given, {name: bytes.fromhex(value) for name, value in VECTOR["outputs"].items()}
    ke1, ke2, ke3, record = out["KE1"], out["KE2"], out["KE3"], out["registration_upload"]
    client_share, _ = derive_auth_key_pair(given["client_keyshare_seed"])
    cases = []

    def case(judge, name, message, accepts=False, **agreed):
        agreed = {key: value.hex() for key, value in agreed.items()}
        cases.append({"judge": judge, "name": name, "message": message.hex(), "accepts": accepts} | agreed)

    request = out["registration_request"]
    case("vault: registration request", "as published", request, True)
    for name, element in bad_elements().items():
        case("vault: registration request", name, element)
    for name, message in (("empty", b""), ("a byte short", request[:-1]), ("a byte long", request + b"\0")):
        case("vault: registration request", name, message)
    case("vault: registration request", "a point of P-256, compressed", b"\x02" + request)

    case("vault: registration record", "as published", record, True)
    for name, element in bad_elements().items():
        case("vault: registration record", f"client public key: {name}", with_element(record, 0, element))
    for name, message in (("a byte short", record[:-1]), ("a byte long", record + b"\0"), ("without its envelope", record[:96])):
        case("vault: registration record", name, message)

    case("vault: KE1", "as published", ke1, True)
    for name, element in bad_elements().items():
        case("vault: KE1", f"blinded element: {name}", with_element(ke1, 0, element))
        case("vault: KE1", f"client keyshare: {name}", with_element(ke1, 64, element))
    for name, message in (("a byte short", ke1[:-1]), ("a byte long", ke1 + b"\0"), ("without its keyshare", ke1[:64])):
        case("vault: KE1", name, message)

    case("vault: KE3", "as published", ke3, True)
    for at in (0, 31, 63):
        case("vault: KE3", f"byte {at} flipped", flipped(ke3, at))
    for name, message in (("a byte short", ke3[:-1]), ("a byte long", ke3 + b"\0"), ("zeros", bytes(64))):
        case("vault: KE3", name, message)
    other = answered(config, record, {"server_nonce": bytes(32)})
    _, replayed, _ = client_finishes(config, given["password"], scalar(given["blind_login"]), client_share, ke1, other)
    case("vault: KE3", "replayed from another login", replayed)
    case("vault: KE3", "the server's own MAC reflected", ke2[256:])
    case("vault: KE3", "under another MAC key", hmac_sha512(found["server_mac_key"], sha512(b"")))

    case("client: KE2", "as published", ke2, True)
    case("client: KE2", "of another run of the same server", other, True)
    fields = {
        "evaluated element": 0, "masking nonce": 32, "masked public key": 64, "masked envelope nonce": 96,
        "masked envelope tag": 128, "server nonce": 192, "server MAC": 256,
    }
    for name, at in fields.items():
        case("client: KE2", f"{name} flipped", flipped(ke2, at))
    for name, element in bad_elements().items():
        case("client: KE2", f"evaluated element: {name}", with_element(ke2, 0, element))
        case("client: KE2", f"server keyshare: {name}", with_element(ke2, 224, element))
    case("client: KE2", "evaluated element of another key", with_element(ke2, 0, (5 * Point.decode(ke1[:32])).encode()))
    case("client: KE2", "the client's element reflected", with_element(ke2, 0, ke1[:32]))
    case("client: KE2", "the client's keyshare reflected", with_element(ke2, 224, ke1[64:96]))
    for name, message in (("a byte short", ke2[:-1]), ("a byte long", ke2 + b"\0"), ("without its MAC", ke2[:256])):
        case("client: KE2", name, message)
    wrong_code = answered(config, record, {})
    case("client: KE2", "under another code", wrong_code, password=b"another code")
    case("client: KE2", "for another context", answered(config, record, {"context": b"another context"}))
    case("client: KE2", "for another client identity", answered(config, record, {"client_identity": b"somebody"}))
    case("client: KE2", "for another server identity", answered(config, record, {"server_identity": b"somewhere"}))
    case("client: KE2", "of another account's key", answered(config, record, {"credential_identifier": b"another"}))
    vector = json.loads(json.dumps(VECTOR))
    vector["inputs"] |= {"password": b"somebody else's".hex(), "credential_identifier": b"another".hex()}
    theirs = opaque_of(vector)["registration_upload"]
    case("client: KE2", "with another account's record", answered(config, theirs, {}))

    login = {
        "context": config.context, "password": given["password"], "blind": given["blind_login"], "KE1": ke1,
        "client_nonce": given["client_nonce"], "client_keyshare_secret": client_share.to_bytes(32, "little"),
        "expected_KE3": ke3, "session_key": out["session_key"],
    }
    about = "OPAQUE-3DH, ristretto255-SHA512: what a vault and a client must take and what not; a case may have a password of its own"
    written = {"about": about, "login": {name: value.hex() for name, value in login.items()}, "cases": cases}
    (HERE / "negative.json").write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
