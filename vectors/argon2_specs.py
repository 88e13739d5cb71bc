"""Argon2id (RFC 9106), version 0x13, without secret or associated data but where asked, by its text alone.

Plain Python: a MiB takes about a second. For checking, never for codes that matter.
"""

from hashlib import blake2b

MASK = 2**64 - 1
LOW = 2**32 - 1


def word(number):
    return number.to_bytes(4, "little")


def long_hash(length, data):
    """H' (section 3.3)."""
    data = word(length) + data
    if length <= 64:
        return blake2b(data, digest_size=length).digest()
    out, block = b"", blake2b(data).digest()
    while length - len(out) > 64:
        out += block[:32]
        left = length - len(out)
        block = blake2b(block, digest_size=min(left, 64)).digest()
    return out + block


def mix(v, a, b, c, d):
    """GB (section 3.6) on four words of v, in their places."""
    x, y, z, w = v[a], v[b], v[c], v[d]
    x = x + y + 2 * (x & LOW) * (y & LOW) & MASK
    w ^= x
    w = w >> 32 | (w & LOW) << 32
    z = z + w + 2 * (z & LOW) * (w & LOW) & MASK
    y ^= z
    y = y >> 24 | y << 40 & MASK
    x = x + y + 2 * (x & LOW) * (y & LOW) & MASK
    w ^= x
    w = w >> 16 | w << 48 & MASK
    z = z + w + 2 * (z & LOW) * (w & LOW) & MASK
    y ^= z
    v[a], v[b], v[c], v[d] = x, y >> 63 | y << 1 & MASK, z, w


# The words of each permutation P: eight rows of the block as a matrix of 16-byte registers, then its eight columns.
ROWS = [[16 * row + at for at in range(16)] for row in range(8)]
COLUMNS = [[2 * column + 16 * row + half for row in range(8) for half in range(2)] for column in range(8)]
ROUNDS = [
    (words[a], words[b], words[c], words[d])
    for words in ROWS + COLUMNS
    for a, b, c, d in [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
    + [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
]


def compress(left, right):
    """G (section 3.5), of two blocks of 128 words."""
    mixed = [a ^ b for a, b in zip(left, right)]
    v = mixed[:]
    for a, b, c, d in ROUNDS:
        mix(v, a, b, c, d)
    return [a ^ b for a, b in zip(mixed, v)]


def words_of(block):
    return [int.from_bytes(block[at : at + 8], "little") for at in range(0, 1024, 8)]


def argon2id(password, salt, passes, memory_kib, lanes, length, secret=b"", associated=b""):
    given = [word(it) for it in (lanes, length, memory_kib, passes, 0x13, 2)]
    given += [part for it in (password, salt, secret, associated) for part in (word(len(it)), it)]
    first = blake2b(b"".join(given)).digest()
    segment = memory_kib // (4 * lanes)
    columns = 4 * segment
    memory = [[None] * columns for _ in range(lanes)]
    for lane in range(lanes):
        for column in range(2):
            memory[lane][column] = words_of(long_hash(1024, first + word(column) + word(lane)))
    for turn in range(passes):
        for slice_ in range(4):
            for lane in range(lanes):
                fill(memory, turn, slice_, lane, passes, segment)
    last = [0] * 128
    for lane in memory:
        last = [a ^ b for a, b in zip(last, lane[-1])]
    return long_hash(length, b"".join(it.to_bytes(8, "little") for it in last))


def fill(memory, turn, slice_, lane, passes, segment):
    """One segment (section 3.4)."""
    lanes, columns, row = len(memory), 4 * segment, memory[lane]
    # Where to look does not depend on the password in the first half of the first pass.
    independent = turn == 0 and slice_ < 2
    addresses, zero = [], [0] * 128
    for index in range(segment):
        if independent and index % 128 == 0:
            seed = [turn, lane, slice_, lanes * columns, passes, 2, index // 128 + 1] + [0] * 121
            addresses = compress(zero, compress(zero, seed))
        column = slice_ * segment + index
        if turn == 0 and column < 2:
            continue
        before = row[column - 1]
        chosen = addresses[index % 128] if independent else before[0]
        j1, j2 = chosen & LOW, chosen >> 32
        other = lane if turn == 0 and slice_ == 0 else j2 % lanes
        # How many blocks may be looked at, and the oldest of them (section 3.4.2).
        whole = slice_ * segment if turn == 0 else columns - segment
        many = whole + index - 1 if other == lane else whole - (index == 0)
        start = 0 if turn == 0 else (slice_ + 1) % 4 * segment
        at = many - 1 - (many * (j1 * j1 >> 32) >> 32)
        made = compress(before, memory[other][(start + at) % columns])
        row[column] = made if turn == 0 else [a ^ b for a, b in zip(row[column], made)]
