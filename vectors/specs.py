"""What the vectors are read by, from the specifications alone: plain Python and its standard library, no line of the crate.

ristretto255 (RFC 9496), the OPRF (RFC 9497), OPAQUE-3DH with both of its sides (RFC 9807), AES-256-GCM-SIV (RFC 8452), HKDF
(RFC 5869) and Ed25519 (RFC 8032). Slow, and not constant in time: for checking, never for keys that matter.
"""

import hashlib
import hmac


def sha512(*parts):
    return hashlib.sha512(b"".join(parts)).digest()


def hmac_sha512(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha512).digest()


def hkdf_extract(salt, ikm):
    return hmac_sha512(salt or bytes(64), ikm)


def hkdf_expand(prk, info, length):
    okm, block, counter = b"", b"", 1
    while len(okm) < length:
        block = hmac_sha512(prk, block, info, bytes([counter]))
        okm, counter = okm + block, counter + 1
    return okm[:length]


def xor(left, right):
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


class Differs(Exception):
    """An answer is not the one that is written down."""


def same(what, found, expected):
    if found != expected:
        shown = [it.hex() if isinstance(it, bytes) else repr(it) for it in (found, expected)]
        raise Differs(f"{what}\n  computed  {shown[0]}\n  expected  {shown[1]}")


# ---- edwards25519 and ristretto255 (RFC 9496 section 4)

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def is_negative(x):
    return x % P & 1


def absolute(x):
    return -x % P if is_negative(x) else x % P


def sqrt_ratio(u, v):
    """Whether u/v is a square, and its root that is not negative, or that of SQRT_M1 * u/v (section 4.2)."""
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    if check in (-u % P, -u * SQRT_M1 % P):
        r = r * SQRT_M1 % P
    return check in (u % P, -u % P), absolute(r)


INVSQRT_A_MINUS_D = sqrt_ratio(1, -1 - D)[1]
SQRT_AD_MINUS_ONE = -sqrt_ratio(-D - 1, 1)[1] % P
ONE_MINUS_D_SQ = (1 - D * D) % P
D_MINUS_ONE_SQ = (D - 1) ** 2 % P


class Point:
    """A point of edwards25519 in extended coordinates; as an element of ristretto255, one of its coset."""

    def __init__(self, x, y, z=1, t=None):
        self.x, self.y, self.z, self.t = x % P, y % P, z % P, (x * y if t is None else t) % P

    def __add__(self, other):
        a = (self.y - self.x) * (other.y - other.x)
        b = (self.y + self.x) * (other.y + other.x)
        c, d = 2 * D * self.t * other.t, 2 * self.z * other.z
        e, f, g, h = b - a, d - c, d + c, b + a
        return Point(e * f, g * h, f * g, e * h)

    def __rmul__(self, scalar):
        product, power, scalar = Point(0, 1), self, scalar % L
        while scalar:
            if scalar & 1:
                product = product + power
            power, scalar = power + power, scalar >> 1
        return product

    def encode(self):
        """Section 4.3.2."""
        x, y, z, t = self.x, self.y, self.z, self.t
        u1, u2 = (z + y) * (z - y) % P, x * y % P
        root = sqrt_ratio(1, u1 * u2 * u2 % P)[1]
        d1, d2 = root * u1 % P, root * u2 % P
        z_inverse = d1 * d2 * t % P
        if is_negative(t * z_inverse):
            x, y, inverse = y * SQRT_M1 % P, x * SQRT_M1 % P, d1 * INVSQRT_A_MINUS_D % P
        else:
            inverse = d2
        if is_negative(x * z_inverse):
            y = -y % P
        return absolute((z - y) * inverse).to_bytes(32, "little")

    @staticmethod
    def decode(encoded):
        """Section 4.3.1; None for what is no element."""
        s = int.from_bytes(encoded, "little")
        if len(encoded) != 32 or s >= P or is_negative(s):
            return None
        u1, u2 = (1 - s * s) % P, (1 + s * s) % P
        v = (-D * u1 * u1 - u2 * u2) % P
        square, root = sqrt_ratio(1, v * u2 * u2 % P)
        x = absolute(2 * s * root * u2)
        y = u1 * root * root * u2 * v % P
        if not square or is_negative(x * y) or y == 0:
            return None
        return Point(x, y)

    @staticmethod
    def of_uniform(uniform):
        """Section 4.3.4: of 64 bytes."""
        return Point.of_half(uniform[:32]) + Point.of_half(uniform[32:])

    @staticmethod
    def of_half(half):
        t = int.from_bytes(half, "little") % 2**255 % P
        r = SQRT_M1 * t * t % P
        u = (r + 1) * ONE_MINUS_D_SQ % P
        v = (-1 - r * D) * (r + D) % P
        square, s = sqrt_ratio(u, v)
        s, c = (s, P - 1) if square else (-absolute(s * t) % P, r)
        n = (c * (r - 1) * D_MINUS_ONE_SQ - v) % P
        w = [2 * s * v, n * SQRT_AD_MINUS_ONE, 1 - s * s, 1 + s * s]
        return Point(w[0] * w[3], w[2] * w[1], w[1] * w[3], w[0] * w[2])


BASE_Y = 4 * pow(5, -1, P) % P
BASE = Point(absolute(sqrt_ratio(BASE_Y * BASE_Y - 1, D * BASE_Y * BASE_Y + 1)[1]), BASE_Y)


def scalar(encoded):
    return int.from_bytes(encoded, "little")


# ---- OPRF (RFC 9497), mode 0x00, ristretto255-SHA512

CONTEXT_STRING = b"OPRFV1-\x00-ristretto255-SHA512"


def expand_message(message, dst, length):
    """expand_message_xmd with SHA-512 (RFC 9380 section 5.3.1)."""
    dst_prime = dst + bytes([len(dst)])
    first = sha512(bytes(128), message, length.to_bytes(2, "big"), b"\x00", dst_prime)
    uniform, block = b"", bytes(64)
    for index in range(1, -(-length // 64) + 1):
        block = sha512(xor(first, block), bytes([index]), dst_prime)
        uniform += block
    return uniform[:length]


def hash_to_group(message):
    return Point.of_uniform(expand_message(message, b"HashToGroup-" + CONTEXT_STRING, 64))


def hash_to_scalar(message, dst=b"HashToScalar-" + CONTEXT_STRING):
    return int.from_bytes(expand_message(message, dst, 64), "little") % L


def derive_key_pair(seed, info):
    """RFC 9497 section 3.2.1: the private key and the public one."""
    message = seed + len(info).to_bytes(2, "big") + info
    for counter in range(256):
        private = hash_to_scalar(message + bytes([counter]), b"DeriveKeyPair" + CONTEXT_STRING)
        if private:
            return private, private * BASE
    raise AssertionError("no key in 256 tries")


def blinded(message, blind):
    return blind * hash_to_group(message)


def finalized(message, blind, evaluated):
    unblinded = (pow(blind, -1, L) * evaluated).encode()
    parts = b"".join(len(it).to_bytes(2, "big") + it for it in (message, unblinded))
    return sha512(parts, b"Finalize")


# ---- OPAQUE-3DH (RFC 9807), HKDF-SHA-512, HMAC-SHA-512, SHA-512, identity KSF


def derive_auth_key_pair(seed):
    return derive_key_pair(seed, b"OPAQUE-DeriveDiffieHellmanKeyPair")


def counted(part):
    return len(part).to_bytes(2, "big") + part


class Config:
    """What both sides agree on, as one vector has it."""

    def __init__(self, vector):
        given = {name: bytes.fromhex(value) for name, value in vector["inputs"].items()}
        self.context = bytes.fromhex(vector["config"]["Context"])
        self.given = given
        self.client_identity, self.server_identity = given.get("client_identity"), given.get("server_identity")

    def identities(self, client_public_key, server_public_key):
        return self.client_identity or client_public_key, self.server_identity or server_public_key

    def cleartext_credentials(self, client_public_key, server_public_key):
        client, server = self.identities(client_public_key, server_public_key)
        return server_public_key + counted(server) + counted(client)


def randomized_password(password, blind, evaluated):
    output = finalized(password, blind, evaluated)
    # The stretched output is the output: the KSF is the identity.
    return hkdf_extract(b"", output + output)


def envelope_keys(password, nonce):
    """Of section 4.1.2: the key of the envelope's MAC, the export key, the client's pair."""
    auth = hkdf_expand(password, nonce + b"AuthKey", 64)
    export = hkdf_expand(password, nonce + b"ExportKey", 64)
    return auth, export, derive_auth_key_pair(hkdf_expand(password, nonce + b"PrivateKey", 32))


def oprf_key(given):
    seed = hkdf_expand(given["oprf_seed"], given["credential_identifier"] + b"OprfKey", 32)
    return derive_key_pair(seed, b"OPAQUE-DeriveKeyPair")[0]


def expand_label(secret, label, context, length):
    label = b"OPAQUE-" + label
    info = length.to_bytes(2, "big") + bytes([len(label)]) + label + bytes([len(context)]) + context
    return hkdf_expand(secret, info, length)


def key_schedule(ikm, preamble):
    """Section 6.4.2.2: both MAC keys, the session key, the handshake secret."""
    prk, transcript = hkdf_extract(b"", ikm), sha512(preamble)
    handshake = expand_label(prk, b"HandshakeSecret", transcript, 64)
    session = expand_label(prk, b"SessionKey", transcript, 64)
    server_mac, client_mac = (expand_label(handshake, it, b"", 64) for it in (b"ServerMAC", b"ClientMAC"))
    return server_mac, client_mac, session, handshake


def preamble(config, client, ke1, server, inner_ke2):
    return b"OPAQUEv1-" + counted(config.context) + counted(client) + ke1 + counted(server) + inner_ke2


def opaque_of(vector):
    """A whole run, both sides: what each value of the vector comes to."""
    config = Config(vector)
    given, found = config.given, {}
    password = given["password"]
    server_public = given["server_public_key"]
    key = oprf_key(given)

    # Registration.
    blind = scalar(given["blind_registration"])
    request = blinded(password, blind)
    evaluated = key * request
    found["oprf_key"] = key.to_bytes(32, "little")
    found["registration_request"] = request.encode()
    found["registration_response"] = evaluated.encode() + server_public
    stretched = randomized_password(password, blind, evaluated)
    nonce = given["envelope_nonce"]
    auth, export, (_, client_public) = envelope_keys(stretched, nonce)
    client_public = client_public.encode()
    envelope = nonce + hmac_sha512(auth, nonce, config.cleartext_credentials(client_public, server_public))
    masking_key = hkdf_expand(stretched, b"MaskingKey", 64)
    record = client_public + masking_key + envelope
    found |= {
        "randomized_password": stretched,
        "auth_key": auth,
        "export_key": export,
        "client_public_key": client_public,
        "envelope": envelope,
        "masking_key": masking_key,
        "registration_upload": record,
    }

    # The client's first message.
    blind = scalar(given["blind_login"])
    client_share, client_share_public = derive_auth_key_pair(given["client_keyshare_seed"])
    ke1 = blinded(password, blind).encode() + given["client_nonce"] + client_share_public.encode()
    found["KE1"] = ke1

    # The server's answer, which has the record and its keys.
    ke2_inner, mac, server_keys = server_answers(config, key, record, ke1)
    server_mac_key, client_mac_key, server_session, handshake = server_keys
    ke2 = ke2_inner + mac
    found |= {"KE2": ke2, "handshake_secret": handshake}
    found |= {"server_mac_key": server_mac_key, "client_mac_key": client_mac_key}

    # The client, from KE2 and its code alone.
    session, ke3, _ = client_finishes(config, password, blind, client_share, ke1, ke2)
    same("the session key of both sides", session, server_session)
    found |= {"KE3": ke3, "session_key": session}
    return found


class Unproven(Exception):
    """What the client does not take from a server."""


def client_finishes(config, password, blind, client_share, ke1, ke2):
    """ClientFinish (section 6.3.2): the session key, KE3 and the export key, from KE2, the code and what the client kept."""
    if len(ke2) != 320:
        raise Unproven("another length")
    evaluated, share, server_mac = ke2[:32], Point.decode(ke2[224:256]), ke2[256:]
    element = Point.decode(evaluated)
    if element is None or share is None or bytes(32) in (evaluated, ke2[224:256]):
        raise Unproven("no element, or the identity")
    if evaluated == ke1[:32]:
        raise Unproven("the client's own element")
    stretched = randomized_password(password, blind, element)
    pad = hkdf_expand(hkdf_expand(stretched, b"MaskingKey", 64), ke2[32:64] + b"CredentialResponsePad", 128)
    unmasked = xor(pad, ke2[64:192])
    server_public, nonce, tag = unmasked[:32], unmasked[32:64], unmasked[64:]
    server_element = Point.decode(server_public)
    if server_element is None or server_public == bytes(32):
        raise Unproven("no public key: another code, or another record")
    auth, export, (client_private, client_public) = envelope_keys(stretched, nonce)
    client_public = client_public.encode()
    if hmac_sha512(auth, nonce, config.cleartext_credentials(client_public, server_public)) != tag:
        raise Unproven("the envelope is not of this code, or of other identities")
    ikm = b"".join(it.encode() for it in (client_share * share, client_share * server_element, client_private * share))
    client, server = config.identities(client_public, server_public)
    said = preamble(config, client, ke1, server, ke2[:256])
    server_mac_key, client_mac_key, session, _ = key_schedule(ikm, said)
    if hmac_sha512(server_mac_key, sha512(said)) != server_mac:
        raise Unproven("the server's MAC")
    return session, hmac_sha512(client_mac_key, sha512(said + server_mac)), export


def server_answers(config, key, record, ke1):
    """KE2 without its MAC, the MAC, and the keys that it comes from."""
    given = config.given
    server_private, server_public = scalar(given["server_private_key"]), given["server_public_key"]
    client_public, masking_key, envelope = record[:32], record[32:96], record[96:]
    evaluated = (key * Point.decode(ke1[:32])).encode()
    masking_nonce = given["masking_nonce"]
    pad = hkdf_expand(masking_key, masking_nonce + b"CredentialResponsePad", 128)
    masked = xor(pad, server_public + envelope)
    share, share_public = derive_auth_key_pair(given["server_keyshare_seed"])
    inner = evaluated + masking_nonce + masked + given["server_nonce"] + share_public.encode()
    client_share = Point.decode(ke1[64:96])
    ikm = b"".join(
        it.encode() for it in (share * client_share, server_private * client_share, share * Point.decode(client_public))
    )
    client, server = config.identities(client_public, server_public)
    said = preamble(config, client, ke1, server, inner)
    keys = key_schedule(ikm, said)
    return inner, hmac_sha512(keys[0], sha512(said)), keys


def opaque_of_nobody(vector):
    """A login of somebody who never enrolled: the record is made up."""
    config = Config(vector)
    given = config.given
    record = given["client_public_key"] + given["masking_key"] + bytes(96)
    inner, mac, _ = server_answers(config, oprf_key(given), record, given["KE1"])
    return {"KE2": inner + mac}


# ---- AES-256 (FIPS 197) and AES-256-GCM-SIV (RFC 8452)


def gf256(a, b):
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a, b = (a << 1) ^ (0x11B if a & 0x80 else 0), b >> 1
    return product


def s_box():
    box = []
    for byte in range(256):
        inverse = next((it for it in range(256) if gf256(byte, it) == 1), 0)
        rotated = [((inverse << turn) | (inverse >> (8 - turn))) & 0xFF for turn in range(5)]
        box.append(rotated[0] ^ rotated[1] ^ rotated[2] ^ rotated[3] ^ rotated[4] ^ 0x63)
    return box


S_BOX = s_box()
TWICE = [gf256(byte, 2) for byte in range(256)]


def aes256_round_keys(key):
    words, constant = [key[at : at + 4] for at in range(0, 32, 4)], 1
    for at in range(8, 60):
        word = words[-1]
        if at % 8 == 0:
            word = bytes(S_BOX[it] for it in word[1:] + word[:1])
            word, constant = bytes([word[0] ^ constant]) + word[1:], gf256(constant, 2)
        elif at % 8 == 4:
            word = bytes(S_BOX[it] for it in word)
        words.append(xor(words[at - 8], word))
    return [b"".join(words[at : at + 4]) for at in range(0, 60, 4)]


def aes_encrypt(round_keys, block):
    state = xor(block, round_keys[0])
    for number, round_key in enumerate(round_keys[1:], 1):
        state = bytes(S_BOX[it] for it in state)
        state = bytes(state[(at + 4 * (at % 4)) % 16] for at in range(16))
        if number < len(round_keys) - 1:
            mixed = []
            for column in (state[at : at + 4] for at in range(0, 16, 4)):
                every = column[0] ^ column[1] ^ column[2] ^ column[3]
                mixed += [column[row] ^ every ^ TWICE[column[row] ^ column[(row + 1) % 4]] for row in range(4)]
            state = bytes(mixed)
        state = xor(state, round_key)
    return state


# x^128 + x^127 + x^126 + x^121 + 1, and x^-128 modulo it.
POLYVAL_MODULUS = 1 << 128 | 1 << 127 | 1 << 126 | 1 << 121 | 1
X_TO_MINUS_128 = 1 << 127 | 1 << 124 | 1 << 121 | 1 << 114 | 1


def carryless(a, b):
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a, b = a << 1, b >> 1
    for bit in range(product.bit_length() - 1, 127, -1):
        if product >> bit & 1:
            product ^= POLYVAL_MODULUS << (bit - 128)
    return product


def polyval(key, message):
    key, total = int.from_bytes(key, "little"), 0
    key = carryless(key, X_TO_MINUS_128)
    for at in range(0, len(message), 16):
        total = carryless(total ^ int.from_bytes(message[at : at + 16], "little"), key)
    return total.to_bytes(16, "little")


def gcm_siv_keys(key, nonce):
    rounds = aes256_round_keys(key)
    halves = [aes_encrypt(rounds, counter.to_bytes(4, "little") + nonce)[:8] for counter in range(6)]
    return b"".join(halves[:2]), aes256_round_keys(b"".join(halves[2:]))


def gcm_siv_tag(authentication_key, rounds, nonce, associated, plain):
    padded = b"".join(it + bytes(-len(it) % 16) for it in (associated, plain))
    lengths = (8 * len(associated)).to_bytes(8, "little") + (8 * len(plain)).to_bytes(8, "little")
    digest = polyval(authentication_key, padded + lengths)
    digest = bytearray(xor(digest, nonce + bytes(4)))
    digest[15] &= 0x7F
    return aes_encrypt(rounds, bytes(digest))


def gcm_siv_stream(rounds, tag, message):
    block = bytearray(tag)
    block[15] |= 0x80
    counter, out = int.from_bytes(block[:4], "little"), b""
    for at in range(0, len(message), 16):
        stream = aes_encrypt(rounds, counter.to_bytes(4, "little") + bytes(block[4:]))
        out += bytes(a ^ b for a, b in zip(message[at : at + 16], stream))
        counter = (counter + 1) % 2**32
    return out


def gcm_siv_seal(key, nonce, associated, plain):
    authentication_key, rounds = gcm_siv_keys(key, nonce)
    tag = gcm_siv_tag(authentication_key, rounds, nonce, associated, plain)
    return gcm_siv_stream(rounds, tag, plain) + tag


def gcm_siv_open(key, nonce, associated, sealed):
    """None where it does not authenticate."""
    if len(sealed) < 16:
        return None
    authentication_key, rounds = gcm_siv_keys(key, nonce)
    plain = gcm_siv_stream(rounds, sealed[-16:], sealed[:-16])
    tag = gcm_siv_tag(authentication_key, rounds, nonce, associated, plain)
    return plain if tag == sealed[-16:] else None


# ---- Ed25519 (RFC 8032 section 5.1.7)


def ed25519_point(encoded):
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y % 2**255
    square, x = sqrt_ratio(y * y - 1, D * y * y + 1)
    if y >= P or not square or (x == 0 and sign):
        return None
    return Point(-x if is_negative(x) != sign else x, y)


def ed25519_verifies(public_key, message, signature):
    key, r, s = ed25519_point(public_key), ed25519_point(signature[:32]), scalar(signature[32:])
    if key is None or r is None or s >= L:
        return False
    challenge = int.from_bytes(sha512(signature[:32], public_key, message), "little") % L
    left, right = s * BASE, r + challenge * key
    # Cofactored or not is one for honest keys; this crate wants the equation itself.
    return left.x * right.z % P == right.x * left.z % P and left.y * right.z % P == right.y * left.z % P
