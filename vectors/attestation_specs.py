"""Attestation documents of AWS Nitro enclaves, by the specifications alone, in plain Python and its standard library.

COSE_Sign1 (RFC 9052) over CBOR (RFC 8949) in definite lengths, ES384 (FIPS 186-5), certificates (RFC 5280) in DER. For checking,
never for documents that matter.
"""

import hashlib
from datetime import datetime, timezone

DOCUMENT_MAX = 64 * 1024
INTERMEDIATES_MAX = 8


class Refused(Exception):
    """Why a document does not hold."""


def holds(what, why):
    if not what:
        raise Refused(why)


# ---- CBOR

TAG = "tag"


def cbor(data, at=0):
    """The item at this place, and the place behind it: a map is a list of pairs, what is tagged is (TAG, number, item)."""
    holds(at < len(data), "CBOR that is cut short")
    kind, short, at = data[at] >> 5, data[at] & 31, at + 1
    holds(short < 28, "CBOR of no definite length")
    if short >= 24:
        width = 1 << (short - 24)
        holds(at + width <= len(data), "CBOR that is cut short")
        short, at = int.from_bytes(data[at : at + width], "big"), at + width
    if kind == 0:
        return short, at
    if kind == 1:
        return -1 - short, at
    if kind in (2, 3):
        holds(at + short <= len(data), "CBOR that is cut short")
        text = data[at : at + short]
        return (text if kind == 2 else text.decode()), at + short
    if kind in (4, 5):
        items = []
        for _ in range(short * (kind - 3)):
            item, at = cbor(data, at)
            items.append(item)
        return (items if kind == 4 else list(zip(items[::2], items[1::2]))), at
    if kind == 6:
        item, at = cbor(data, at)
        return (TAG, short, item), at
    holds(short in (20, 21, 22), "a CBOR value that nobody knows")
    return {20: False, 21: True, 22: None}[short], at


def whole(data):
    item, at = cbor(data)
    holds(at == len(data), "bytes behind the CBOR")
    return item


def head(kind, length):
    """Of a string of at most 64 KiB."""
    if length < 24:
        return bytes([kind << 5 | length])
    return bytes([kind << 5 | 24, length]) if length < 256 else bytes([kind << 5 | 25]) + length.to_bytes(2, "big")


def only(pairs, name):
    """The value of this name, None where there is none."""
    found = [value for key, value in pairs if key == name and type(key) is type(name)]
    holds(len(found) < 2, f"{name} twice")
    return found[0] if found else None


# ---- ECDSA over P-384 with SHA-384

P = 2**384 - 2**128 - 2**96 + 2**32 - 1
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
B = 0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF
G = (
    0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
    0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
    1,
)
NOWHERE = (1, 1, 0)


def doubled(point):
    """In Jacobian coordinates: x/z^2, y/z^3."""
    x, y, z = point
    if not z:
        return NOWHERE
    square, slope = y * y % P, 3 * (x - z * z) * (x + z * z) % P
    four = 4 * x * square % P
    found = (slope * slope - 2 * four) % P
    return found, (slope * (four - found) - 8 * square * square) % P, 2 * y * z % P


def added(one, other):
    (x1, y1, z1), (x2, y2, z2) = one, other
    if not z1 or not z2:
        return other if not z1 else one
    u1, u2 = x1 * z2 * z2 % P, x2 * z1 * z1 % P
    s1, s2 = y1 * z2**3 % P, y2 * z1**3 % P
    if u1 == u2:
        return doubled(one) if s1 == s2 else NOWHERE
    h, r = u2 - u1, s2 - s1
    found = (r * r - h**3 - 2 * u1 * h * h) % P
    return found, (r * (u1 * h * h - found) - s1 * h**3) % P, h * z1 * z2 % P


def times(scalar, point):
    product = NOWHERE
    for bit in bin(scalar)[2:]:
        product = doubled(product)
        product = added(product, point) if bit == "1" else product
    return product


def ecdsa_verifies(key, message, r, s):
    if not (0 < r < N and 0 < s < N):
        return False
    digest, inverse = int.from_bytes(hashlib.sha384(message).digest(), "big"), pow(s, -1, N)
    x, _, z = added(times(digest * inverse % N, G), times(r * inverse % N, key))
    return z != 0 and x * pow(z * z, -1, P) % P % N == r


# ---- DER, and certificates


def der(data, tag=None):
    """The tag, what is in it, all of it, and what is behind it."""
    holds(len(data) >= 2, "DER that is cut short")
    length, at = data[1], 2
    if length > 127:
        width = length & 127
        holds(0 < width <= 2 and len(data) >= 2 + width, "DER of a length that nobody writes")
        length, at = int.from_bytes(data[2 : 2 + width], "big"), 2 + width
        holds(length > 127 and (width == 1 or length > 255), "DER of a length that is written otherwise")
    holds(len(data) >= at + length, "DER that is cut short")
    holds(tag is None or data[0] == tag, "another thing in DER than must be there")
    return data[0], data[at : at + length], data[: at + length], data[at + length :]


def inside(data):
    """All that stands one behind the other, as (tag, what is in it, all of it)."""
    found = []
    while data:
        tag, content, everything, data = der(data)
        found.append((tag, content, everything))
    return found


SEQUENCE, INTEGER, BITS, OCTETS, BOOLEAN, UTC_TIME = 0x30, 0x02, 0x03, 0x04, 0x01, 0x17
ECDSA_WITH_SHA384 = bytes.fromhex("06082a8648ce3d040303")
P384_KEY = bytes.fromhex("06072a8648ce3d020106052b81040022")
BASIC_CONSTRAINTS, KEY_USAGE = bytes.fromhex("551d13"), bytes.fromhex("551d0f")
DIGITAL_SIGNATURE, KEY_CERT_SIGN = 0, 5


def second(tag, text):
    shape = "%y%m%d%H%M%SZ" if tag == UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text.decode(), shape).replace(tzinfo=timezone.utc).timestamp()


class Certificate:
    def __init__(self, data):
        _, content, self.bytes, rest = der(data, SEQUENCE)
        (_, tbs, self.signed), (_, algorithm, _), (_, signature, _) = inside(content)
        holds(not rest, "bytes behind a certificate")
        parts = inside(tbs)
        parts = parts[1:] if parts[0][0] == 0xA0 else parts
        _, again, self.issuer, validity, self.subject, key, *more = parts
        self.issuer, self.subject = self.issuer[2], self.subject[2]
        self.by_ecdsa = algorithm == again[1] == ECDSA_WITH_SHA384
        self.signature = [int.from_bytes(number, "big") for _, number, _ in inside(der(signature[1:], SEQUENCE)[1])]
        self.begins, self.ends = (second(tag, text) for tag, text, _ in inside(validity[1]))
        kind, point = inside(key[1])
        holds(kind[1] == P384_KEY and point[1][:2] == b"\x00\x04" and len(point[1]) == 98, "a key that is not of P-384")
        x, y = (int.from_bytes(point[1][at : at + 48], "big") for at in (2, 50))
        holds(x < P and y < P and (y * y - x**3 + 3 * x - B) % P == 0, "a key that is no point")
        self.key, self.extensions = (x, y, 1), {}
        for tag, list_, _ in more:
            for _, extension, _ in inside(der(list_, SEQUENCE)[1]) if tag == 0xA3 else []:
                (_, name, _), *critical, (_, value, _) = inside(extension)
                known = name in (BASIC_CONSTRAINTS, KEY_USAGE)
                holds(known or not critical or critical[0][1] == b"\x00", "a critical extension that nobody knows")
                holds(name not in self.extensions, "an extension twice")
                self.extensions[name] = value

    def authority(self):
        """Whether it is one, and how many it may have below it, None where that is open."""
        value = self.extensions.get(BASIC_CONSTRAINTS)
        said = {tag: content for tag, content, _ in inside(der(value, SEQUENCE)[1])} if value else {}
        return said.get(BOOLEAN) == b"\xff", int.from_bytes(said[INTEGER], "big") if INTEGER in said else None

    def may(self, use, where_nothing_is_said):
        value = self.extensions.get(KEY_USAGE)
        if value is None:
            return where_nothing_is_said
        bits = der(value, BITS)[1][1:]
        return bool(bits) and bool(bits[0] >> (7 - use) & 1)

    def signs(self, other):
        named = other.by_ecdsa and other.issuer == self.subject
        return named and ecdsa_verifies(self.key, other.signed, *other.signature)

    def is_valid(self, at):
        return self.begins <= at <= self.ends


# ---- a document


def attested(document, root, artifact, nonce):
    """PCR0 of the enclave in which the artifact's keys were born; nonce as the evidence names it, None where it names none."""
    root = Certificate(root)
    holds(root.signs(root), "the root does not sign itself")
    holds(len(document) <= DOCUMENT_MAX, "too long")
    signed = whole(document)
    signed = signed[2] if isinstance(signed, tuple) and signed[1] == 18 else signed
    holds(isinstance(signed, list) and len(signed) == 4, "no COSE_Sign1")
    protected, _, payload, signature = signed
    holds(only(whole(protected), 1) == -35, "not signed with ES384")
    said = whole(payload)
    holds(only(said, "digest") == "SHA384", "another digest")
    holds(isinstance(only(said, "module_id"), str), "no module")
    moment, pcr0 = only(said, "timestamp"), only(only(said, "pcrs"), 0)
    holds(isinstance(moment, int) and moment >= 0, "no time")
    holds(isinstance(pcr0, bytes) and len(pcr0) == 48, "no PCR0")
    issuer = walk(root, only(said, "cabundle"), only(said, "certificate"), moment // 1000)
    message = b"\x84" + head(3, 10) + b"Signature1" + head(2, len(protected)) + protected + head(2, 0)
    message += head(2, len(payload)) + payload
    holds(len(signature) == 96, "no signature")
    halves = [int.from_bytes(half, "big") for half in (signature[:48], signature[48:])]
    holds(ecdsa_verifies(issuer.key, message, *halves), "a signature that is not good")
    holds(only(said, "user_data") == artifact, "about other keys")
    holds(nonce is not None and only(said, "nonce") == nonce, "another nonce")
    holds(any(pcr0), "an enclave in debug mode")
    return pcr0


def walk(root, bundle, last, at):
    """From the pinned root to the certificate that signs."""
    holds(bundle and bundle[0] == root.bytes, "another root")
    holds(len(bundle) - 1 <= INTERMEDIATES_MAX, "too many certificates")
    holds(root.is_valid(at), "a root that does not hold")
    chain, issuer = [Certificate(it) for it in [*bundle[1:], last]], root
    for place, subject in enumerate(chain):
        authority, most = issuer.authority()
        below = len(chain) - 1 - place
        holds(authority and (most is None or below <= most), "a certificate that may not issue others")
        holds(issuer.may(KEY_CERT_SIGN, False), "a certificate that may not sign others")
        holds(issuer.signs(subject), "a certificate that the one above has not signed")
        holds(subject.is_valid(at), "a certificate that does not hold")
        issuer = subject
    holds(not issuer.authority()[0] and issuer.may(DIGITAL_SIGNATURE, True), "a certificate that signs no documents")
    return issuer
