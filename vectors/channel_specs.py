"""What the channel's vectors are read by: X-Wing (draft-connolly-cfrg-xwing-kem) in HPKE (RFC 9180), in plain Python.

ML-KEM-768 (FIPS 203), X25519 (RFC 7748), ChaCha20-Poly1305 (RFC 8439) and HKDF-SHA-256 (RFC 5869) are written here from their texts.
Slow, and not constant in time: for checking, never for keys that matter.
"""

import hashlib
import hmac

# ---- ML-KEM-768 (FIPS 203): k = 3, eta = 2, du = 10, dv = 4

Q, N, K = 3329, 256, 3
U_BITS, V_BITS = 10, 4


def reversed_bits(number):
    return int(f"{number:07b}"[::-1], 2)


ZETAS = [pow(17, reversed_bits(at), Q) for at in range(128)]
GAMMAS = [pow(17, 2 * reversed_bits(at) + 1, Q) for at in range(128)]


def ntt(polynomial):
    f, at, length = list(polynomial), 1, 128
    while length >= 2:
        for start in range(0, N, 2 * length):
            for j in range(start, start + length):
                product = ZETAS[at] * f[j + length]
                f[j], f[j + length] = (f[j] + product) % Q, (f[j] - product) % Q
            at += 1
        length //= 2
    return f


def inverse_ntt(polynomial):
    f, at, length = list(polynomial), 127, 2
    while length <= 128:
        for start in range(0, N, 2 * length):
            for j in range(start, start + length):
                low = f[j]
                f[j], f[j + length] = (low + f[j + length]) % Q, ZETAS[at] * (f[j + length] - low) % Q
            at -= 1
        length *= 2
    return [3303 * it % Q for it in f]


def multiply(left, right):
    product = []
    for at in range(128):
        a, b, c, d = left[2 * at], left[2 * at + 1], right[2 * at], right[2 * at + 1]
        product += [(a * c + b * d * GAMMAS[at]) % Q, (a * d + b * c) % Q]
    return product


def plus(left, right):
    return [(a + b) % Q for a, b in zip(left, right, strict=True)]


def dot(left, right):
    total = [0] * N
    for a, b in zip(left, right, strict=True):
        total = plus(total, multiply(a, b))
    return total


def encode(bits, values):
    number = sum(value << bits * at for at, value in enumerate(values))
    return number.to_bytes(32 * bits, "little")


def decode(bits, encoded):
    number = int.from_bytes(encoded, "little")
    return [number >> bits * at & (1 << bits) - 1 for at in range(N)]


def compress(bits, values):
    return [((value << bits) + Q // 2) // Q % (1 << bits) for value in values]


def decompress(bits, values):
    return [(value * Q + (1 << bits - 1)) >> bits for value in values]


def uniform(seed):
    """SampleNTT."""
    stream, values = hashlib.shake_128(seed).digest(3 * 1024), []
    for at in range(0, len(stream), 3):
        first, second, third = stream[at : at + 3]
        values += [it for it in (first + 256 * (second % 16), second // 16 + 16 * third) if it < Q]
    return values[:N]


def binomial(seed, number):
    """SamplePolyCBD of PRF with eta = 2."""
    bits = decode_bits(hashlib.shake_256(seed + bytes([number])).digest(128))
    return [(bits[4 * at] + bits[4 * at + 1] - bits[4 * at + 2] - bits[4 * at + 3]) % Q for at in range(N)]


def decode_bits(encoded):
    return [byte >> bit & 1 for byte in encoded for bit in range(8)]


def matrix(rho):
    return [[uniform(rho + bytes([column, row])) for column in range(K)] for row in range(K)]


def ml_kem_keys(d):
    """The encapsulation key and the secret vector, of the seed d (K-PKE.KeyGen)."""
    seeds = hashlib.sha3_512(d + bytes([K])).digest()
    rho, sigma = seeds[:32], seeds[32:]
    secret = [ntt(binomial(sigma, number)) for number in range(K)]
    errors = [ntt(binomial(sigma, K + number)) for number in range(K)]
    public = [plus(dot(row, secret), error) for row, error in zip(matrix(rho), errors, strict=True)]
    return b"".join(encode(12, it) for it in public) + rho, secret


def ml_kem_encrypt(public_key, message, seed):
    public, rho = [decode(12, public_key[384 * at : 384 * at + 384]) for at in range(K)], public_key[-32:]
    rows = matrix(rho)
    y = [ntt(binomial(seed, number)) for number in range(K)]
    columns = [[rows[row][column] for row in range(K)] for column in range(K)]
    u = [plus(inverse_ntt(dot(column, y)), binomial(seed, K + at)) for at, column in enumerate(columns)]
    said = decompress(1, decode(1, message))
    v = plus(plus(inverse_ntt(dot(public, y)), binomial(seed, 2 * K)), said)
    return b"".join(encode(U_BITS, compress(U_BITS, it)) for it in u) + encode(V_BITS, compress(V_BITS, v))


def ml_kem_decapsulate(seeds, sealed):
    """ML-KEM.Decaps_internal, of the seeds d and z."""
    d, z = seeds[:32], seeds[32:]
    public_key, secret = ml_kem_keys(d)
    length = 32 * U_BITS
    u = [decompress(U_BITS, decode(U_BITS, sealed[length * at : length * at + length])) for at in range(K)]
    v = decompress(V_BITS, decode(V_BITS, sealed[length * K :]))
    masked = inverse_ntt(dot(secret, [ntt(it) for it in u]))
    message = encode(1, compress(1, [(a - b) % Q for a, b in zip(v, masked, strict=True)]))
    both = hashlib.sha3_512(message + hashlib.sha3_256(public_key).digest()).digest()
    if ml_kem_encrypt(public_key, message, both[32:]) != sealed:
        return hashlib.shake_256(z + sealed).digest(32)
    return both[:32]


# ---- X25519 (RFC 7748)

P = 2**255 - 19


def x25519(private, coordinate):
    k = int.from_bytes(private, "little") & ~7 & ~(1 << 255) | 1 << 254
    x1 = int.from_bytes(coordinate, "little") % 2**255
    x2, z2, x3, z3 = 1, 0, x1, 1
    for bit in range(254, -1, -1):
        if k >> bit & 1:
            x2, x3, z2, z3 = x3, x2, z3, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb = a * a % P, b * b % P
        e = aa - bb
        x3, z3 = pow(d * a + c * b, 2, P), x1 * pow(d * a - c * b, 2, P) % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
        if k >> bit & 1:
            x2, x3, z2, z3 = x3, x2, z3, z2
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


NINE = (9).to_bytes(32, "little")


# ---- ChaCha20-Poly1305 (RFC 8439)


def chacha20(key, counter, nonce):
    words = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574]
    given = key + counter.to_bytes(4, "little") + nonce
    words += [int.from_bytes(given[at : at + 4], "little") for at in range(0, 48, 4)]
    state = list(words)

    def quarter(a, b, c, d):
        for one, other, third, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[one] = (state[one] + state[other]) % 2**32
            mixed = state[third] ^ state[one]
            state[third] = (mixed << turn | mixed >> 32 - turn) % 2**32

    for _ in range(10):
        for at in range(4):
            quarter(at, 4 + at, 8 + at, 12 + at)
        for at in range(4):
            quarter(at, 4 + (at + 1) % 4, 8 + (at + 2) % 4, 12 + (at + 3) % 4)
    return b"".join(((a + b) % 2**32).to_bytes(4, "little") for a, b in zip(state, words, strict=True))


def poly1305(key, message):
    r, s = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF, int.from_bytes(key[16:], "little")
    total = 0
    for at in range(0, len(message), 16):
        total = (total + int.from_bytes(message[at : at + 16] + b"\x01", "little")) * r % (2**130 - 5)
    return ((total + s) % 2**128).to_bytes(16, "little")


def chacha20_poly1305_open(key, nonce, sealed, associated=b""):
    """None where it does not authenticate."""
    body, tag = sealed[:-16], sealed[-16:]
    padded = b"".join(it + bytes(-len(it) % 16) for it in (associated, body))
    lengths = len(associated).to_bytes(8, "little") + len(body).to_bytes(8, "little")
    if poly1305(chacha20(key, 0, nonce)[:32], padded + lengths) != tag:
        return None
    stream = b"".join(chacha20(key, 1 + at, nonce) for at in range(-(-len(body) // 64)))
    return bytes(a ^ b for a, b in zip(body, stream))


# ---- X-Wing, and HPKE over it in base mode


def x_wing_decapsulate(seed, sealed):
    expanded = hashlib.shake_256(seed).digest(96)
    of_ml_kem, coordinate = sealed[:1088], sealed[1088:]
    secrets = ml_kem_decapsulate(expanded[:64], of_ml_kem) + x25519(expanded[64:], coordinate)
    return hashlib.sha3_256(secrets + coordinate + x25519(expanded[64:], NINE) + b"\\.//^\\").digest()


def extract(salt, ikm):
    return hmac.new(salt or bytes(32), ikm, hashlib.sha256).digest()


def expand(prk, info, length):
    okm, block, counter = b"", b"", 1
    while len(okm) < length:
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha256).digest()
        okm, counter = okm + block, counter + 1
    return okm[:length]


SUITE_ID = b"HPKE" + (0x647A).to_bytes(2, "big") + (1).to_bytes(2, "big") + (3).to_bytes(2, "big")


def labeled_extract(salt, label, ikm):
    return extract(salt, b"HPKE-v1" + SUITE_ID + label + ikm)


def labeled_expand(prk, label, info, length):
    return expand(prk, length.to_bytes(2, "big") + b"HPKE-v1" + SUITE_ID + label + info, length)


def hpke_context(seed, sealed, info):
    """Key, base nonce and exporter secret of who has the seed (RFC 9180 section 5.1)."""
    context = b"\x00" + labeled_extract(b"", b"psk_id_hash", b"") + labeled_extract(b"", b"info_hash", info)
    secret = labeled_extract(x_wing_decapsulate(seed, sealed), b"secret", b"")
    return tuple(
        labeled_expand(secret, label, context, length) for label, length in ((b"key", 32), (b"base_nonce", 12), (b"exp", 32))
    )
