"""A verifier of a fleet's keys, by trust/README.md and the specifications that it names, in plain Python.

It shares no line with the crate. `python3 vectors/check.py` holds it against every case of `trust/`; it is a second reading for
who writes a verifier in another language, and no tool for keys that matter.
"""

import base64
import hashlib
import json
import re

from specs import ed25519_verifies

SIGNS, COSIGNS = 1, 4
NUMBER, HASH = r"(?:0|[1-9][0-9]*)", r"[0-9a-f]{64}"


class Refused(Exception):
    """Why something is not accepted."""


def need(holds, why):
    if not holds:
        raise Refused(why)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# ---- C2SP signed-note: keys, and lines by them


class Key:
    """A verifier key, `<name>+<id>+<base64 of kind and key>`."""

    def __init__(self, text):
        self.text = text
        self.name, identifies, encoded = text.split("+", 2)
        decoded = base64.b64decode(encoded, validate=True)
        self.kind, self.key = decoded[0], decoded[1:]
        self.id = sha256(self.name.encode(), b"\n", decoded)[:4]
        need(self.id.hex() == identifies, f"{text} is no key")

    def signatures(self, note):
        """What the lines of this key have behind its id."""
        lines = (line.split(" ") for line in note.lines)
        decoded = ((name, base64.b64decode(signature)) for _, name, signature in lines)
        return [it[4:] for name, it in decoded if name == self.name and it[:4] == self.id]

    def has_signed(self, note):
        """Whether a line is by it; that each such line is good is needed."""
        found = self.signatures(note)
        need(all(self.verifies(note.text, it) for it in found), f"the signature of {self.name} is not good")
        return bool(found)

    def verifies(self, text, signature):
        if self.kind == COSIGNS:
            time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            text = f"cosignature/v1\ntime {time}\n{text}"
        return len(signature) == 64 and ed25519_verifies(self.key, text.encode(), signature)


class Note:
    """Text, and the lines of who has signed it."""

    def __init__(self, written):
        need("\n\n" in written and written.endswith("\n"), "not a note")
        text, _, lines = written.rpartition("\n\n")
        self.text, self.lines = text + "\n", lines.splitlines()
        need(all(re.fullmatch(r"\u2014 \S+ \S+", line) for line in self.lines), "not a note")

    def line_by(self, key):
        return next(line for line in self.lines if line.split(" ")[1] == key.name and base64.b64decode(line.split(" ")[2])[:4] == key.id)


# ---- pins, memory, bundles


class Pins:
    def __init__(self, text):
        first, *lines = text.splitlines()
        need(first == "strongroom pins v1", "not pins")
        values = [line.partition(" ")[::2] for line in lines]
        one = dict(values)
        self.namespace, self.least_epoch = one["namespace"], int(one["least-epoch"])
        self.auditor, self.operator = Key(one["auditor"]), Key(one["operator"])
        self.evidence = [Key(one["auditor-evidence"]), Key(one["operator-evidence"])]
        self.log, self.quorum = Key(one["log"]), int(one["quorum"])
        self.witnesses = [Key(value) for name, value in values if name == "witness"]
        self.measurements = [value for name, value in values if name == "measurement"]
        self.compiled_in = "compiled-in" in one
        keys = [self.auditor, self.operator, *self.evidence, self.log, *self.witnesses]
        need(len({key.key for key in keys}) == len(keys), "one key stands for two")


BUNDLE = re.compile(
    rf"strongroom bundle v1\nnamespace (\S+)\nfleet ({HASH})\nepoch ({NUMBER})\nnot-before ({NUMBER})\nnot-after ({NUMBER})\n"
    rf"previous ({HASH})\nartifact ({HASH})\nevidence ({HASH})\n(?:next-auditor (\S+)\n)?(?:next-operator (\S+)\n)?"
)


class Bundle:
    def __init__(self, written):
        self.note = Note(written)
        read = BUNDLE.fullmatch(self.note.text)
        need(read, "not a bundle")
        self.namespace, self.fleet, self.previous, self.artifact, self.evidence = (read[at] for at in (1, 2, 6, 7, 8))
        self.epoch, self.not_before, self.not_after = (int(read[at]) for at in (3, 4, 5))
        self.next_auditor, self.next_operator = (Key(it) if it else None for it in (read[9], read[10]))
        self.hash = sha256(self.note.text.encode()).hex()


class Trust:
    """Whom a verifier trusts by now: keys of the pins, or of what it remembers."""

    def __init__(self, pins, memory):
        self.pins, self.last = pins, None
        self.auditor, self.operator = pins.auditor, pins.operator
        if memory is not None:
            head, _, bundle = memory.partition("\n\n")
            lines = dict(line.split(" ", 1) for line in head.splitlines()[1:])
            self.auditor, self.operator = Key(lines["auditor"]), Key(lines["operator"])
            self.last = Bundle(bundle)
            self.turn(self.last)
            if self.last.epoch < pins.least_epoch:
                # Whoever raises the least epoch has the keys of the pins hold.
                self.__init__(pins, None)

    def turn(self, bundle):
        self.auditor = bundle.next_auditor or self.auditor
        self.operator = bundle.next_operator or self.operator

    def follow(self, bundle, proof):
        """One bundle more, and its place in the log."""
        pins, last = self.pins, self.last
        if last is not None and bundle.epoch == last.epoch:
            # By whoever was to sign it when it was accepted first.
            need(bundle.hash == last.hash, "two bundles of one epoch: a fork")
            return
        signers = [self.auditor, self.operator]
        for key in signers:
            need(key.has_signed(bundle.note), f"the signature of {key.name} is missing")
        need(bundle.namespace == pins.namespace, "another namespace")
        if last is not None:
            need(bundle.epoch == last.epoch + 1, "not the epoch behind the last")
            need(bundle.previous == last.hash, "it follows another")
            need(bundle.fleet == last.fleet, "another fleet")
        for key in filter(None, (bundle.next_auditor, bundle.next_operator)):
            need(key.has_signed(bundle.note), "a new key has not signed")
        entry = bundle.note.text + "\n" + "".join(bundle.note.line_by(key) + "\n" for key in signers)
        check_proof(pins, proof, entry.encode())
        self.last = bundle
        self.turn(bundle)


# ---- C2SP tlog-proof, tlog-checkpoint, tlog-cosignature; RFC 6962 section 2.1.1


def root_of(leaf, index, size, path):
    """The root that a leaf at this index of a tree of this size has with this path; None if the path does not fit."""
    node, last, path = leaf, size - 1, list(path)
    while last > 0:
        if index % 2 == 1 or index == last:
            while index == last and index % 2 == 0 and last > 0:
                index, last = index // 2, last // 2
            if last == 0:
                break
            if index % 2 == 1:
                if not path:
                    return None
                node = sha256(b"\x01", path.pop(0), node)
                index, last = index // 2, last // 2
                continue
        if not path:
            return None
        node = sha256(b"\x01", node, path.pop(0))
        index, last = index // 2, last // 2
    return None if path else node


def check_proof(pins, written, entry):
    head, _, checkpoint = written.partition("\n\n")
    first, *lines = head.splitlines()
    need(first == "c2sp.org/tlog-proof@v1" and lines, "not a proof")
    need(re.fullmatch(rf"index {NUMBER}", lines[0]), "not a proof, or one with extra data")
    index, path = int(lines[0].split(" ")[1]), [base64.b64decode(line, validate=True) for line in lines[1:]]
    note = Note(checkpoint)
    origin, size, root, *_ = note.text.splitlines()
    need(origin == pins.log.name, "of another log")
    need(pins.log.has_signed(note), "the log has not signed")
    # Each is asked, so that a bad line is found even where enough are good.
    cosigned = [key.has_signed(note) for key in pins.witnesses]
    need(sum(cosigned) >= pins.quorum, "too few witnesses")
    need(index < int(size), "beyond the end of the log")
    need(root_of(sha256(b"\x00", entry), index, int(size), path) == base64.b64decode(root), "not in the log")


# ---- DSSE, in-toto, and what evidence says


def envelope(written):
    it = json.loads(written)
    payload, kind = base64.b64decode(it["payload"]), it["payloadType"]
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    return kind, json.loads(payload), signed, [base64.b64decode(line["sig"]) for line in it["signatures"]]


def signed_by_all(keys, signed, signatures):
    return all(any(ed25519_verifies(key.key, signed, it) for it in signatures) for key in keys)


def check_evidence(pins, bundle, evidence, documents, origin="rotation"):
    kind, statement, signed, signatures = envelope(evidence)
    need(kind == "application/vnd.in-toto+json", "not evidence")
    need(signed_by_all(pins.evidence, signed, signatures), "not signed by both")
    says = statement["predicate"]
    if origin == "rotation":
        # The ceremony's, which a rotation goes back to, is about the keys of then.
        need(statement["subject"][0]["digest"]["sha256"] == bundle.artifact, "about other keys")
    need((says["namespace"], says["fleet"]) == (pins.namespace, bundle.fleet), "about another fleet")
    named = says["origin"]
    if "rotation" in named:
        need(origin == "rotation", "a rotation of a rotation")
        ceremony = documents.get(named["rotation"]["ceremony"])
        need(ceremony, "the evidence of the ceremony is missing")
        return check_evidence(pins, bundle, ceremony, documents, "ceremony")
    named = named["ceremony"]
    transcript = documents.get(named["transcript"])
    need(transcript, "the transcript is missing")
    _, said, signed, signatures = envelope(transcript)
    everybody = [Key(it["key"]) for it in said["participants"]]
    need(everybody and signed_by_all(everybody, signed, signatures), "somebody who was there has not signed")
    subject = statement["subject"][0]["digest"]["sha256"]
    need((said["fleet"], said["artifact"]) == (bundle.fleet, subject), "the transcript of another ceremony")
    code = "{kind} {digest}".format(**named["measurement"])
    need(not pins.measurements or code in pins.measurements, "other code")
    return None


# ---- statements


MEMBERS = rf"(?:member {NUMBER} [!-~]+ {HASH} {HASH} [!-~]+\n)*"
STATEMENT = re.compile(
    rf"strongroom statement v1\nfleet ({HASH})\n"
    rf"(?:pardon {HASH} {NUMBER}\n|restore {NUMBER}\n|members {HASH}\n({MEMBERS})|refound {NUMBER} {HASH} {HASH}\n({MEMBERS}))"
)


def check_statement(fleet, signers, written):
    """Whether both of these keys have signed it, whatever names their lines have, and it is a statement to this fleet."""
    note = Note(written)
    for key in map(bytes.fromhex, signers.split()):
        for line in note.lines:
            _, name, encoded = line.split(" ")
            signature = base64.b64decode(encoded)
            if signature[:4] == sha256(name.encode(), b"\n\x01", key)[:4]:
                need(ed25519_verifies(key, note.text.encode(), signature[4:]), "a signature is not good")
                break
        else:
            raise Refused("a signature is missing")
    read = STATEMENT.fullmatch(note.text)
    need(read, "not a statement")
    need(read[1] == fleet.strip(), "to another fleet")
    numbers = [int(line.split(" ")[1]) for line in (read[2] or read[3] or "").splitlines()]
    need(numbers == sorted(set(numbers)), "members are not in order")


# ---- a case


def read_case(path):
    """What is expected, when, and the documents, several of a name in their order."""
    header, *rest = path.read_text().split("\n-- ")
    lines = dict(line[2:].split(": ", 1) for line in header.splitlines() if ": " in line)
    documents = {}
    for it in rest:
        name, _, content = it.partition("\n")
        # What ends a document begins the next one's line.
        documents.setdefault(name, []).append(content if it is rest[-1] else content + "\n")
    return lines, documents


def verify(documents, now):
    """Accepts what a case gives, or says why not."""
    pins = Pins(documents["pins"][0])
    trust = Trust(pins, documents.get("memory", [None])[0])
    bundles = [Bundle(it) for it in documents["bundle"]]
    for bundle, proof in zip(bundles, documents["tlog-proof"], strict=True):
        trust.follow(bundle, proof)
    last = trust.last
    need(bundles[-1].hash == last.hash, "not the last")
    need(last.epoch >= pins.least_epoch, "below the least epoch")
    need(last.not_before <= now and (now <= last.not_after or pins.compiled_in), "it does not hold at this time")
    artifact, evidence = documents["fleet-keys.json"][0], documents["evidence.json"][0]
    need(sha256(artifact.encode()).hex() == last.artifact, "other keys than the bundle names")
    need(sha256(evidence.encode()).hex() == last.evidence, "other evidence than the bundle names")
    others = {sha256(it.encode()).hex(): it for it in documents.get("document", [])}
    check_evidence(pins, last, evidence, others)
    need(json.loads(artifact)["fleet"] == last.fleet, "the keys of another fleet")


def judge(path):
    """Whether a case is accepted, whether it should be, and why not."""
    lines, documents = read_case(path)
    expected = lines["expect"] == "accepted"
    try:
        verify(documents, int(lines["now"]))
    except Refused as why:
        return False, expected, str(why)
    return True, expected, ""


def judge_statement(path):
    """The same for a statement."""
    header, documents = read_case(path)
    try:
        check_statement(*(documents[name][0] for name in ("fleet", "signers", "statement")))
    except Refused:
        return False, header["expect"] == "accepted"
    return True, header["expect"] == "accepted"
