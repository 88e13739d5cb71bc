"""Writes what the command line is made of, as CycloneDX 1.6: every package that is compiled into it, where it comes from, its
checksum, its licence and what it needs. From cargo's own answer and the lock file; the same bytes each time.

    python3 .ci/sbom.py > strongroom.cdx.json
    python3 .ci/sbom.py --check strongroom.cdx.json MESSAGES     # by `cargo build --message-format json`; fails if anything is wrong
"""

import json
import pathlib
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).parent.parent
FEATURES = "cli"


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments, "--locked"], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def host():
    said = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    return next(line.split(": ")[1] for line in said.splitlines() if line.startswith("host: "))


def compiled():
    """Packages of the command line as it is built for this host, what only tests need left out; and what each of them needs."""
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--features", FEATURES, "--filter-platform", host()))
    # Features that only tests want are in the metadata, and not in this.
    tree = cargo("tree", "--features", FEATURES, "--edges", "normal,build", "--prefix", "none", "--format", "{p}")
    built = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    packages = {it["id"]: it for it in metadata["packages"] if (it["name"], "v" + it["version"]) in built}
    needs = {}
    for node in metadata["resolve"]["nodes"]:
        if node["id"] in packages:
            for_product = {it["pkg"] for it in node["deps"] if any(kind["kind"] != "dev" for kind in it["dep_kinds"])}
            needs[node["id"]] = sorted(for_product & packages.keys())
    return metadata["resolve"]["root"], packages, needs


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums):
    made = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
    }
    if package.get("license"):
        # A slash was how several licences were written before SPDX.
        made["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum := checksums.get((package["name"], package["version"])):
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return made


def sbom():
    root, packages, needs = compiled()
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(it["name"], it["version"]): it.get("checksum") for it in lock["package"]}
    by_purl = sorted(needs, key=lambda it: purl(packages[it]))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(packages[root], checksums) | {"type": "application"}},
        "components": [component(packages[it], checksums) for it in by_purl if it != root],
        "dependencies": [
            {"ref": purl(packages[it]), "dependsOn": [purl(packages[need]) for need in needs[it]]} for it in by_purl
        ],
    }


def complaints(bom, messages):
    """What is wrong with it: what is missing or not said, held against what cargo told of a build of the program."""
    told = [json.loads(line) for line in messages.splitlines() if line.startswith("{")]
    ids = {it["package_id"] for it in told if it["reason"] == "compiler-artifact"}
    # An id ends with #VERSION behind a path that ends with the name, or with #NAME@VERSION.
    ends = [(path.rsplit("/", 1)[-1], end) for path, end in (it.rsplit("#", 1) for it in ids)]
    built = {end if "@" in end else f"{name}@{end}" for name, end in ends}
    listed = [bom["metadata"]["component"], *bom["components"]]
    names = [f"{it['name']}@{it['version']}" for it in listed]
    found = [f"{it} is listed twice" for it in set(names) if names.count(it) > 1]
    found += [f"{it} is missing" for it in sorted(built - set(names))] + [f"{it} is not built" for it in sorted(set(names) - built)]
    for it in listed:
        found += [f"{it['name']} has no {what}" for what in ("licenses", "purl") if not it.get(what)]
    found += [f"{it['name']} has no checksum" for it in bom["components"] if len(it.get("hashes", [{}])[0].get("content", "")) != 64]
    refs = {it["bom-ref"] for it in listed}
    depended = {it["ref"] for it in bom["dependencies"]} | {need for it in bom["dependencies"] for need in it["dependsOn"]}
    return found + [f"{it} is listed and needs nothing, or the other way round" for it in sorted(refs ^ depended)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        bom, messages = (pathlib.Path(it).read_text() for it in sys.argv[2:4])
        wrong = complaints(json.loads(bom), messages)
        print("\n".join(wrong) or "nothing is missing")
        sys.exit(1 if wrong else 0)
    print(json.dumps(sbom(), indent=2))
