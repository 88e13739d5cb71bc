#!/usr/bin/env bash
# The whole story of trust in a fleet's keys, on one machine: a ceremony, its evidence, two signers, a log with two
# witnesses, people who verify; and then everybody who cheats, each refused for a reason that a person understands.
#
#     cargo build --release --features cli
#     examples/trust.sh                  # STRONGROOM=path/to/strongroom for another one
#
# In life each of these is another organisation on another machine, and what travels between them is files.
set -euo pipefail

strongroom=${STRONGROOM:-"$(dirname "${BASH_SOURCE[0]}")/../target/release/strongroom"}
strongroom=$(realpath "$strongroom")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

title() { printf '\n== %s\n' "$*"; }
run() { "$strongroom" "$@"; }

# What must be refused, and what the words must say.
refused() {
    local reason=$1 said
    shift
    if said=$("$strongroom" "$@" 2>&1); then
        printf 'NOT REFUSED: %s\n' "$*" >&2
        exit 1
    fi
    said=$(tail -n 1 <<<"$said")
    if [[ $said != *"$reason"* ]]; then
        printf 'REFUSED FOR ANOTHER REASON: %s\n' "$said" >&2
        exit 1
    fi
    printf 'refused: %s\n' "${said#strongroom: }"
}

now=$(date +%s)
service=example.org/backup

title "Everybody draws their own keys"
mkdir keys
for name in auditor operator evidence.auditor evidence.operator log.example/fleets anna bert; do
    run signer new --name "$name" "keys/${name##*/}"
done
for name in witness1 witness2; do
    run signer new --name "$name" --witness "keys/$name"
done
key() { run signer show "keys/$1"; }

title "The auditor begins a log, and writes down what apps are compiled with"
run log create --folder log --key keys/fleets
pins() {
    run pins --namespace "$service" --auditor "$(key auditor)" --operator "$(key operator)" \
        --auditor-evidence "$(key evidence.auditor)" --operator-evidence "$(key evidence.operator)" \
        --log "$(key fleets)" --witness "$(key witness1)" --witness "$(key witness2)" --quorum 2 "$@"
}
pins phone.pins
pins --compiled-in app.pins
cat phone.pins

title "The ceremony: keys are born, and everybody who is there signs how"
run ceremony --folder vault --namespace "$service" --participant "auditor=$(key anna)" \
    --participant "operator=$(key bert)" --auditor "$(key auditor)" --operator "$(key operator)" \
    --destroyed "the administrator's card" --out born
run evidence sign --key keys/anna born/transcript.json
run evidence sign --key keys/bert born/transcript.json

title "Both signers say how the keys came to be"
mkdir -p published/documents
cp born/fleet-keys.json published/
cp born/transcript.json published/documents/
run evidence make --namespace "$service" --artifact published/fleet-keys.json --transcript born/transcript.json \
    --measurement sha256=51e2 --rebuild "cargo build --locked" published/evidence.json
run evidence sign --key keys/evidence.auditor published/evidence.json
run evidence sign --key keys/evidence.operator published/evidence.json

# A bundle of the next epoch, signed by these, not yet in the log.
bundle() {
    local file=$1
    shift
    run bundle make --namespace "$service" --artifact published/fleet-keys.json --evidence published/evidence.json \
        --not-before $((now - 60)) "$@" "$file"
}
signed() {
    run bundle sign --key keys/auditor "$1"
    run bundle sign --key keys/operator "$1"
}
# Into the log, before both witnesses, and out to everybody with its proof.
logged() {
    run log append --folder log --key keys/fleets --pins phone.pins "$1"
    for witness in witness1 witness2; do
        run log witness --folder log --pins phone.pins --key "keys/$witness" --memory "$witness.memory" cosigned
        run log take --folder log --key keys/fleets --witness "$(key "$witness")" cosigned
    done
    run log proof --folder log --pins phone.pins --bundle "$1" "${1%.bundle}.tlog-proof"
}

title "The first bundle: made, signed by both, logged, witnessed, published"
bundle published/1.bundle --not-after $((now + 1000))
signed published/1.bundle
run bundle show published/1.bundle
logged published/1.bundle

title "The same for tools in the field: the auditor signs the epoch as plexi has it, the operator signs that"
run signer new --name field.auditor keys/field.auditor
run signer new --name field.operator keys/field.operator
run bundle project --key keys/field.auditor --bundle published/1.bundle epoch.json
cat epoch.json
echo
run bundle countersign --key keys/field.operator --auditor "$(key field.auditor)" --bundle published/1.bundle epoch.json

title "A phone verifies it, and remembers; the vault serves from the ceremony's folder"
run verify --pins phone.pins --memory phone.memory published
cp phone.memory off.memory
cp phone.memory renamed.memory
cp -r published at-epoch-1
run keys status --folder vault | head -n 1

title "Two more epochs: the channel's key turns, and then the auditor's"
run keys rotate --folder vault channel --bundle-not-after $((now + 1000))
mkdir -p turned
cp published/evidence.json published/documents/ceremony-evidence.json
run keys artifact --folder vault turned/fleet-keys.json
cp turned/fleet-keys.json published/
refused "the evidence is of other keys" bundle make --namespace "$service" --artifact published/fleet-keys.json \
    --evidence published/evidence.json --not-before $now --not-after $now in-vain
rm published/evidence.json
run evidence make --namespace "$service" --artifact published/fleet-keys.json \
    --rotation-of published/documents/ceremony-evidence.json --reason "the channel's key turns every year" \
    published/evidence.json
run evidence sign --key keys/evidence.auditor published/evidence.json
run evidence sign --key keys/evidence.operator published/evidence.json
refused "not the evidence of a ceremony" evidence make --namespace "$service" --artifact published/fleet-keys.json \
    --rotation-of published/evidence.json --reason "a rotation of a rotation" in-vain
bundle published/2.bundle --previous published/1.bundle --not-after $((now + 2000))
signed published/2.bundle
logged published/2.bundle
run signer new --name auditor keys/next-auditor
bundle published/3.bundle --previous published/2.bundle --not-after $((now + 3000)) --next-auditor "$(key next-auditor)"
signed published/3.bundle
run bundle sign --key keys/next-auditor published/3.bundle
logged published/3.bundle

title "Both tell the fleet what to do, and it obeys once; one alone it does not, nor a key that was replaced"
run statement restore --artifact published/fleet-keys.json --number 1 --out restore.statement
run statement sign --key keys/auditor restore.statement
refused "the signature of the operator is missing" statement obey --folder vault restore.statement
run statement sign --key keys/operator restore.statement
run statement obey --folder vault restore.statement
refused "it was obeyed before" statement obey --folder vault restore.statement
run statement obey --folder vault published/3.bundle
run statement restore --artifact published/fleet-keys.json --number 2 --out late.statement
run statement sign --key keys/auditor late.statement
run statement sign --key keys/operator late.statement
refused "the signature of the auditor is missing" statement obey --folder vault late.statement

title "An honest phone that was off for two epochs, a new phone without history, and an old app all get through"
cp -r published renamed
for epoch in 1 2 3; do
    mv "renamed/$epoch.bundle" "renamed/$((9 - epoch)).bundle"
    mv "renamed/$epoch.tlog-proof" "renamed/$((9 - epoch)).tlog-proof"
done
run verify --pins phone.pins --memory off.memory published
run verify --pins phone.pins --memory renamed.memory renamed | tail -n 1    # files by other names, the same epochs
run verify --pins phone.pins published | tail -n 1
run verify --pins app.pins --at $((now + 100000)) at-epoch-1 | tail -n 1
run verify --pins phone.pins --memory phone.memory --json published | head -c 100
echo ...

title "A line of somebody whom nobody knows changes nothing"
cp -r published junk
run signer new --name nobody keys/nobody
run bundle sign --key keys/nobody junk/3.bundle
run verify --pins phone.pins junk | tail -n 1

title "Cheating: the operator alone, and the auditor alone"
for alone in operator auditor; do
    cp -r published "$alone-alone"
    bundle "$alone-alone/4.bundle" --previous published/3.bundle --not-after $((now + 4000))
    run bundle sign --key "keys/$alone" "$alone-alone/4.bundle"
    cp published/3.tlog-proof "$alone-alone/4.tlog-proof"
    refused "is missing; nobody but the other has seen these keys" verify --pins phone.pins "$alone-alone"
    refused "is missing" log append --folder log --key keys/fleets --pins phone.pins "$alone-alone/4.bundle"
done

refused "the auditor has not signed this epoch, or another bundle of it" bundle countersign --key keys/field.operator \
    --auditor "$(key field.auditor)" --bundle published/2.bundle epoch.json

title "Cheating: an older epoch again, and one that has expired"
refused "is rolled back" verify --pins phone.pins --memory phone.memory at-epoch-1
refused "has expired" verify --pins phone.pins --at $((now + 3001)) published
refused "holds only from" verify --pins phone.pins --at $((now - 61)) published

title "Cheating: a key that is swapped, and evidence that is missing, altered, or of something else"
cp -r published swapped
sed -i 's/"attempts_max": 10/"attempts_max": 99/' swapped/fleet-keys.json
refused "not the ones that the bundle names" verify --pins phone.pins swapped
cp -r published bare
rm bare/evidence.json
refused "evidence.json: No such file" verify --pins phone.pins bare
cp -r published undocumented
rm undocumented/documents/transcript.json
refused "the transcript of the ceremony is missing" verify --pins phone.pins undocumented
cp -r published other-evidence
cp other-evidence/documents/ceremony-evidence.json other-evidence/evidence.json
refused "not the evidence that the bundle names" verify --pins phone.pins other-evidence

title "Cheating: a bundle for tests, signed by both, before people"
cp -r published test
rm test/*.bundle test/*.tlog-proof test/evidence.json
cp at-epoch-1/fleet-keys.json test/
run evidence make --namespace example.org/test --artifact test/fleet-keys.json --transcript born/transcript.json \
    test/evidence.json
run bundle make --namespace example.org/test --artifact test/fleet-keys.json --evidence test/evidence.json \
    --not-before $((now - 60)) --not-after $((now + 4000)) test/1.bundle
signed test/1.bundle
cp published/1.tlog-proof test/
refused "is for example.org/test" verify --pins phone.pins test

title "Cheating: both signers together show some people other keys, past the log"
cp -r published unlogged
run bundle make --namespace "$service" --artifact at-epoch-1/fleet-keys.json --evidence at-epoch-1/evidence.json \
    --previous published/2.bundle --not-before $((now - 60)) --not-after $((now + 3000)) other-3.bundle
signed other-3.bundle
cp other-3.bundle unlogged/3.bundle
refused "not in the log" verify --pins phone.pins unlogged
refused "there are two bundles of epoch 3, both signed by both" verify --pins phone.pins --memory phone.memory unlogged
run bundle fork --pins phone.pins fork-3-first.bundle fork-3-second.bundle

title "Cheating: the log forks, and shows some people another history"
run log create --folder forked-log --key keys/fleets
run log append --folder forked-log --key keys/fleets --pins phone.pins other-3.bundle
refused "the log contradicts itself" log witness --folder forked-log --pins phone.pins --key keys/witness1 \
    --memory witness1.memory cosigned
run log proof --folder forked-log --pins phone.pins --bundle other-3.bundle unlogged/3.tlog-proof
refused "0 known witnesses have seen this checkpoint, and 2 must have" verify --pins phone.pins unlogged

title "A monitor tells what is new, and of the fork"
news() {
    local status=0
    "$strongroom" log monitor "$@" || status=$?
    [ "$status" = 3 ] || { printf 'the monitor ended with %s\n' "$status" >&2; exit 1; }
}
news --folder log --pins phone.pins --memory monitor.memory
refused "0 known witnesses have seen this checkpoint" log monitor --folder forked-log --pins phone.pins --memory other.memory
run log monitor --folder log --pins phone.pins --memory monitor.memory
refused "the log contradicts itself" log monitor --folder forked-log --pins phone.pins --memory monitor.memory

title "All of it came out as it must"
