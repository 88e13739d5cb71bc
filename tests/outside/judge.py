"""What securesystemslib says of the evidence of the cases in a folder: a line a case, its name and a verdict."""

import base64
import json
import pathlib
import sys

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey


def sections(text):
    """The documents of a case, each behind a line with its name."""
    found = []
    for line in text.splitlines(keepends=True):
        if line.startswith("-- "):
            found.append([line[3:].strip(), ""])
        elif found:
            found[-1][1] += line
    return found


def key(text):
    """A key of C2SP signed-note; its name and number are its id."""
    name, number, encoded = text.split("+", 2)
    tagged = base64.b64decode(encoded)
    assert tagged[0] == 1, text
    return SSlibKey(f"{name}+{number}", "ed25519", "ed25519", {"public": tagged[1:].hex()})


def verdict(text):
    pins = {}
    envelope = None
    for name, content in sections(text):
        if name == "pins":
            pins = dict(line.split(" ", 1) for line in content.splitlines() if " " in line)
        if name == "evidence.json":
            envelope = Envelope.from_dict(json.loads(content))
    keys = [key(pins["auditor-evidence"]), key(pins["operator-evidence"])]
    try:
        envelope.verify(keys, 2)
    except VerificationError:
        return "refuses"
    return "accepts"


for path in sorted(pathlib.Path(sys.argv[1]).glob("*.txt")):
    print(path.stem, verdict(path.read_text(encoding="utf-8")))
