"""The ledger a second time: its commands, its rules and its state's one encoding, in plain Python.

The rules are those of attempts as README and SECURITY.md tell them: what a window holds, what a success clears, what an enrolment
ends and owes, when a record is destroyed. It shares no line with the crate; `check.py` has it read the commands of
`format-v1/ledger.txt` and must come to the state that stands there, byte for byte.
"""

import hashlib

SEALED_LEN = 806
UNKNOWN_KEEP_S = 30 * 24 * 3600
NONE, LIVE, DESTROYED = 0, 1, 2
NOWHERE = bytes(32)


class Refused(Exception):
    """A command that changes nothing."""


def need(holds, why):
    if not holds:
        raise Refused(why)


class Reader:
    """Big-endian numbers, and bytes with their length before them."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        taken = self.data[self.at : self.at + count]
        assert len(taken) == count, "cut short"
        self.at += count
        return taken

    def number(self, width):
        return int.from_bytes(self.take(width), "big")

    def counted(self):
        return self.take(self.number(4))

    def flag(self):
        said = self.number(1)
        assert said in (0, 1), "neither yes nor no"
        return said == 1

    def is_done(self):
        return self.at == len(self.data)


def u8(it):
    return it.to_bytes(1, "big")


def u16(it):
    return it.to_bytes(2, "big")


def u32(it):
    return it.to_bytes(4, "big")


def u64(it):
    return it.to_bytes(8, "big")


def counted(data):
    return u32(len(data)) + data


def bound_of(bound):
    return b"\x00" if bound is None else b"\x01" + bound


def read_bound(reader):
    return reader.take(32) if reader.flag() else None


class Policy:
    """What of the policy the rules look at, and all of its bytes."""

    def __init__(self, encoded):
        self.encoded, it = encoded, Reader(encoded)
        self.attempts_max, self.lifetime_max, _ = it.number(4), it.number(4), it.flag()
        self.destroy_after_s, _ = it.number(8), it.take(24)
        self.restore_attempts, self.unknown_max, self.unproven_removal = it.number(4), it.number(8), it.flag()
        it.take(2)
        it.counted()
        it.take(2)
        it.take(32 * it.number(2))
        self.signers = it.take(64) if it.flag() else None
        it.flag()
        assert it.is_done()


class Account:
    def __init__(self):
        self.spent = self.cleared = self.generation = self.began = self.owed = self.pardoned = self.last_charge_s = 0
        self.record, self.header, self.rewraps, self.finish = NONE, (0, 0), 0, b""
        # Ordinal, number of the digest's key, digest.
        self.window = []

    def write(self):
        counters = (self.spent, self.cleared, self.generation, self.began, self.owed, self.pardoned)
        out = b"".join(map(u32, counters)) + u64(self.last_charge_s) + u8(self.record)
        if self.record == LIVE:
            out += u32(self.header[0]) + u16(self.header[1]) + u32(self.rewraps) + self.finish
        return out + u16(len(self.window)) + b"".join(u32(ordinal) + u16(key) + digest for ordinal, key, digest in self.window)

    @staticmethod
    def read(it):
        account = Account()
        account.spent, account.cleared, account.generation, account.began, account.owed, account.pardoned = (
            it.number(4) for _ in range(6)
        )
        account.last_charge_s, account.record = it.number(8), it.number(1)
        if account.record == LIVE:
            account.header, account.rewraps, account.finish = (it.number(4), it.number(2)), it.number(4), it.take(32)
        account.window = [(it.number(4), it.number(2), it.take(16)) for _ in range(it.number(2))]
        return account

    def as_travels(self):
        """What goes to another vault: nothing that only this one's keys give a meaning to."""
        travels = Account()
        vars(travels).update(vars(self) | {"window": [], "header": (0, 0), "rewraps": 0})
        return travels

    def open(self):
        return self.spent - max(self.cleared, self.began)

    def owed_at_end(self):
        return self.owed + (self.open() if self.record != NONE else 0)

    def beyond_clearing(self):
        return self.owed_at_end() if self.record == DESTROYED else self.owed

    def begin(self, generation, record):
        self.owed, self.generation, self.began = self.owed_at_end(), generation, self.spent
        self.window, self.record = [], record

    def clear_up_to(self, ordinal):
        if ordinal > self.cleared:
            self.cleared = ordinal
            self.window = [it for it in self.window if it[0] > ordinal]

    def may_clear(self, time_s, generation, ordinal, expiry_s):
        here = self.began < ordinal <= self.spent
        need(self.record == LIVE and generation == self.generation and here, "Stale")
        need(expiry_s >= time_s, "TicketExpired")


class State:
    def __init__(self, policy):
        self.policy, self.time_s, self.epoch_min, self.key_min = policy, 0, 0, 0
        self.keys, self.restores, self.members = (0, bytes(32)), 0, (bytes(32), b"")
        # Both keys, and the epoch of the bundle that named them: no bundle yet.
        self.signers = policy.signers and policy.signers + u32(0)
        # Offer, bound, and on the side that accounts come to how many came, how many with a record, and their digest.
        self.moving, self.accounts = None, {}

    def write(self):
        out = counted(self.policy.encoded) + u64(self.time_s) + u32(self.epoch_min) + u16(self.key_min)
        out += u32(self.keys[0]) + self.keys[1] + u32(self.restores) + u8(self.moving is not None)
        if self.moving:
            offer, bound, tally = self.moving
            out += offer + bound_of(bound)
            out += b"\x01" if tally is None else b"\x02" + u64(tally[0]) + u64(tally[1]) + tally[2]
        out += self.members[0] + counted(self.members[1]) + u8(self.signers is not None) + (self.signers or b"")
        return counted(out) + b"".join(id + account.write() for id, account in sorted(self.accounts.items()))

    def advance(self, time_s):
        self.time_s = max(self.time_s, time_s)

    def is_here(self, id):
        if self.moving:
            _, bound, tally = self.moving
            moved = bound is None or id < bound
            need(moved == (tally is not None), "Moved" if tally is None else "Busy")

    def change(self, id, rule):
        """Changes an account in place; an id that is new is added by a rule that does not refuse."""
        account = self.accounts.get(id, Account())
        said = rule(account)
        self.accounts[id] = account
        return said

    def admit(self, sealed):
        header = int.from_bytes(sealed[1:5], "big"), int.from_bytes(sealed[5:7], "big")
        need(header[0] >= self.epoch_min, "Busy")
        return header

    def forgettable(self):
        if self.moving and self.moving[2] is None:
            return None
        unknown = sorted((it.last_charge_s, id) for id, it in self.accounts.items() if it.generation == 0)
        if not unknown:
            return None
        old = self.time_s - unknown[0][0] >= UNKNOWN_KEEP_S
        return unknown[0][1] if old or len(unknown) > self.policy.unknown_max else None

    def apply(self, it):
        """Reads one command and does what it says; what comes of it, in words."""
        return self.do(COMMANDS[it.number(1)](it))

    def do(self, command):
        try:
            return command(self) or "done"
        except Refused as why:
            return f"refused {why}"


def charge(it):
    id, key, digest = it.take(32), it.number(2), it.take(16)
    known = [(key, digest)] + ([(it.number(2), it.take(16))] if it.flag() else [])

    def does(state):
        def rule(account):
            before = [ordinal for ordinal, key, digest in account.window if (key, digest) in known]
            if not before:
                need(account.open() < state.policy.attempts_max, "Exhausted")
                account.spent += 1
                account.last_charge_s = state.time_s
                account.window.append((account.spent, key, digest))
            ordinal, live = (before or [account.spent])[0], "live" if account.record == LIVE else "none"
            remaining = max(state.policy.attempts_max - account.open(), 0)
            return f"charged {account.generation} {ordinal} {live} {remaining}{' again' if before else ''}"

        state.is_here(id)
        return state.change(id, rule)

    return does


def clear(it):
    id, generation, ordinal, expiry_s = it.take(32), it.number(4), it.number(4), it.number(8)

    def does(state):
        def rule(account):
            account.may_clear(state.time_s, generation, ordinal, expiry_s)
            again = ordinal <= account.cleared
            account.clear_up_to(ordinal)
            return "cleared again" if again else "cleared"

        state.is_here(id)
        return state.change(id, rule)

    return does


def enrol(it):
    id, generation, expiry_s, finish, sealed = it.take(32), it.number(4), it.number(8), it.take(32), it.take(SEALED_LEN)

    def does(state):
        def rule(account):
            if account.record == LIVE and account.finish == finish:
                return f"enrolled {account.generation} again"
            need(expiry_s >= state.time_s, "TicketExpired")
            need(generation == account.generation, "Stale")
            unpardoned = max(account.owed_at_end() - account.pardoned, 0)
            need(unpardoned + state.policy.attempts_max <= state.policy.lifetime_max, "LifetimeUsed")
            header = state.admit(sealed)
            need(header[1] >= state.key_min, "Stale")
            account.begin(account.generation + 1, LIVE)
            account.header, account.rewraps, account.finish = header, 0, finish
            return f"enrolled {account.generation}"

        state.is_here(id)
        return state.change(id, rule)

    return does


def remove(it):
    id, generation = it.take(32), it.number(4)
    proof = (it.number(4), it.number(8)) if it.flag() else None

    def does(state):
        def rule(account):
            need(account.record != NONE, "NoRecord")
            need(generation == account.generation, "Stale")
            need(proof or state.policy.unproven_removal, "Forbidden")
            if proof:
                account.may_clear(state.time_s, generation, *proof)
                account.clear_up_to(proof[0])
            account.begin(account.generation + 1, NONE)

        state.is_here(id)
        return state.change(id, rule)

    return does


def sweep(it):
    id = it.take(32)

    def does(state):
        def rule(account):
            full = account.record == LIVE and account.open() >= state.policy.attempts_max
            need(full and state.time_s - account.last_charge_s >= state.policy.destroy_after_s, "Stale")
            account.record, account.window = DESTROYED, []

        state.is_here(id)
        return state.change(id, rule)

    return does


def forget(it):
    most = it.number(2)

    def does(state):
        for _ in range(most):
            id = state.forgettable()
            if id is None:
                return
            del state.accounts[id]

    return does


def rewrap(it):
    id, generation, read, sealed = it.take(32), it.number(4), it.number(4), it.take(SEALED_LEN)

    def does(state):
        def rule(account):
            same = account.record == LIVE and (account.generation, account.rewraps) == (generation, read)
            need(same, "Stale")
            header = state.admit(sealed)
            need(header[1] == account.header[1] and header[0] >= account.header[0], "Stale")
            account.header, account.rewraps = header, read + 1

        return state.change(id, rule)

    return does


def raise_epoch_min(it):
    epoch = it.number(4)

    def does(state):
        sealed = (account.header[0] for account in state.accounts.values() if account.record == LIVE)
        need(all(it >= epoch for it in sealed), "Forbidden")
        state.epoch_min = max(state.epoch_min, epoch)

    return does


def pardon(it):
    id, pardoned = it.take(32), it.number(4)

    def does(state):
        def rule(account):
            need(pardoned <= account.beyond_clearing(), "Forbidden")
            account.pardoned = max(account.pardoned, pardoned)

        state.is_here(id)
        need(id in state.accounts, "NoRecord")
        return state.change(id, rule)

    return does


def restore(it):
    number = it.number(4)

    def does(state):
        need(number == state.restores + 1, "Stale")
        need(not state.moving or (state.moving[2] is not None and state.moving[1] is None), "Forbidden")
        state.restores = number
        for account in state.accounts.values():
            surplus = max(state.policy.attempts_max - account.open(), 0) - state.policy.restore_attempts
            if surplus > 0:
                account.spent += surplus
                account.last_charge_s = state.time_s

    return does


def members(it):
    predecessor, statement = it.take(32), it.counted()

    def does(state):
        need(predecessor == state.members[0], "Stale")
        said, separator, _ = statement.partition(b"\n\n")
        text = said + b"\n" if separator else statement
        state.members = hashlib.sha256(text).digest(), statement

    return does


def raise_key_min(it):
    number = it.number(2)

    def does(state):
        state.key_min = max(state.key_min, number)

    return does


def turn_keys(it):
    keys = it.number(4), it.take(32)

    def does(state):
        need(keys[0] > state.keys[0] or keys == state.keys, "Stale")
        state.keys = keys

    return does


def begin_move(it, comes):
    offer = it.take(32)

    def does(state):
        if state.moving:
            known, bound, tally = state.moving
            if known == offer and (tally is not None) == comes:
                return
            need(bound == NOWHERE or (bound is None and tally is not None), "Stale")
        need(not comes or not state.accounts, "Forbidden")
        state.moving = offer, NOWHERE, (0, 0, bytes(32)) if comes else None

    return does


def depart(it):
    offer, upto = it.take(32), read_bound(it)

    def does(state):
        need(state.moving and state.moving[0] == offer and state.moving[2] is None, "Stale")
        bound = state.moving[1]
        need(bound is not None and (upto is None or bound < upto), "Stale")
        state.moving = offer, upto, None

    return does


def arrive(it):
    offer, start, upto, arrivals = it.take(32), it.take(32), read_bound(it), []
    for _ in range(it.number(2)):
        id, account = it.take(32), Account.read(it)
        arrivals.append((id, account, it.take(SEALED_LEN) if account.record == LIVE else None))

    def does(state):
        need(state.moving and state.moving[2] is not None and state.moving[0] == offer, "Stale")
        need(state.moving[1] == start and (upto is None or upto > start), "Stale")
        ids = [id for id, *_ in arrivals]
        need(ids == sorted(set(ids)) and all(start <= id and (upto is None or id < upto) for id in ids), "Malformed")
        for *_, sealed in arrivals:
            if sealed:
                state.admit(sealed)
        accounts, records, digest = state.moving[2]
        for id, account, _ in arrivals:
            digest = hashlib.sha256(digest + id + account.as_travels().write()).digest()
            accounts, records = accounts + 1, records + (account.record == LIVE)
            state.accounts[id] = account
        state.moving = offer, upto, (accounts, records, digest)

    return does


def signers(it):
    before, after, _ = it.take(68), it.take(68), it.counted()

    def does(state):
        need(state.signers == before, "Stale")
        need(after[:32] != after[32:64] and after[64:] > before[64:], "Malformed")
        state.signers = after

    return does


COMMANDS = {
    1: charge,
    2: clear,
    3: enrol,
    4: remove,
    5: sweep,
    6: forget,
    7: rewrap,
    8: raise_epoch_min,
    9: pardon,
    10: restore,
    11: members,
    12: raise_key_min,
    13: turn_keys,
    14: lambda it: begin_move(it, False),
    15: lambda it: begin_move(it, True),
    16: depart,
    17: arrive,
    18: signers,
}
