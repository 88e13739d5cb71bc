#!/usr/bin/env bash
# A fleet of five with keys that people verify, on one machine: members are born, a ceremony draws the fleet's keys, two
# signers name the members and sign a bundle, witnesses see it; the fleet runs, a person enrols and recovers while members
# die, and one of them is replaced. In the end a majority is lost for good, and three others go on from what is left.
#
#     cargo build --release --features cli
#     examples/fleet.sh                  # STRONGROOM=path/to/strongroom, PORT=18080 for others
#
# You will see every command that an operator, a signer or a person gives. In life each member is another machine at another
# site, its keys and its anchor are in hardware, and what travels between the sites is files. `strongroom fleet up` is
# the short way, where nobody verifies anything.
set -euo pipefail

strongroom=${STRONGROOM:-"$(dirname "${BASH_SOURCE[0]}")/../target/release/strongroom"}
strongroom=$(realpath "$strongroom")
port=${PORT:-18080}
work=$(mktemp -d)
declare -A members=()
trap 'kill -9 "${members[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

title() { printf '\n== %s\n' "$*"; }
run() {
    printf '$ strongroom %s\n' "$*"
    "$strongroom" "$@"
}
quietly() { "$strongroom" "$@" >/dev/null; }
refused() {
    printf '$ strongroom %s\n' "$*"
    if "$strongroom" "$@"; then
        echo "this must be refused" >&2
        exit 1
    fi
}
key() { "$strongroom" signer show "keys/$1"; }
now=$(date +%s)
service=example.org/backup

title "Signers, a log and its witnesses draw their keys; people are given whom to trust"
mkdir keys sites published published/documents phone
for name in auditor operator evidence.auditor evidence.operator log.example/fleets anna bert; do
    quietly signer new --name "$name" "keys/${name##*/}"
done
for name in witness1 witness2; do quietly signer new --name "$name" --witness "keys/$name"; done
quietly log create --folder log --key keys/fleets
quietly pins --namespace "$service" --auditor "$(key auditor)" --operator "$(key operator)" \
    --auditor-evidence "$(key evidence.auditor)" --operator-evidence "$(key evidence.operator)" \
    --log "$(key fleets)" --witness "$(key witness1)" --witness "$(key witness2)" --quorum 2 phone/pins

title "Members are born, each at its own site"
# people, operators and other members, each at a port of its own
people() { echo "127.0.0.1:$((port + $1))"; }
operators() { echo "127.0.0.1:$((port + 100 + $1))"; }
links() { echo "127.0.0.1:$((port + 200 + $1))"; }
declare -A named
born() { # one more
    local number=$1
    named[$number]=$(run fleet member --folder "sites/$number" --number "$number" --name "$(links "$number")" | tail -n 1)
    echo "${named[$number]:0:110}"
}
for number in 1 2 3 4 5 6; do born "$number"; done

title "The ceremony draws the fleet's keys, and everybody who is there signs how"
run ceremony --folder ceremony --namespace "$service" --participant "auditor=$(key anna)" \
    --participant "operator=$(key bert)" --auditor "$(key auditor)" --operator "$(key operator)" --out born
quietly evidence sign --key keys/anna born/transcript.json
quietly evidence sign --key keys/bert born/transcript.json

title "Both signers name five members; the keys are sealed to each, and the folder of the ceremony is destroyed"
name_members() { # a statement that names these, behind the one before
    local out=$1 previous=$2 arguments=()
    shift 2
    for number in "$@"; do arguments+=(--member "${named[$number]}"); done
    [ -z "$previous" ] || arguments+=(--previous "$previous")
    quietly statement members --artifact born/fleet-keys.json --out "$out" "${arguments[@]}"
    run statement sign --key keys/auditor "$out"
    run statement sign --key keys/operator "$out"
}
name_members members-1 "" 1 2 3 4 5
for number in 1 2 3 4 5; do
    run fleet hand-over --folder ceremony --statement members-1 --member "$number" \
        --channel-key "sites/$number/channel.pub" "keys-$number"
    run fleet take --folder "sites/$number" --artifact born/fleet-keys.json --statement members-1 --keys "keys-$number"
done
rm -r ceremony keys-*

title "Evidence and a bundle: made, signed by both, logged, witnessed, published"
cp born/fleet-keys.json published/
cp born/transcript.json published/documents/
quietly evidence make --namespace "$service" --artifact published/fleet-keys.json --transcript born/transcript.json \
    --measurement sha256=51e2 --rebuild "cargo build --locked" published/evidence.json
quietly evidence sign --key keys/evidence.auditor published/evidence.json
quietly evidence sign --key keys/evidence.operator published/evidence.json
quietly bundle make --namespace "$service" --artifact published/fleet-keys.json --evidence published/evidence.json \
    --not-before $((now - 60)) --not-after $((now + 3600)) published/1.bundle
quietly bundle sign --key keys/auditor published/1.bundle
quietly bundle sign --key keys/operator published/1.bundle
quietly log append --folder log --key keys/fleets --pins phone/pins published/1.bundle
for witness in witness1 witness2; do
    quietly log witness --folder log --pins phone/pins --key "keys/$witness" --memory "$witness.memory" cosigned
    quietly log take --folder log --key keys/fleets --witness "$(key "$witness")" cosigned
done
quietly log proof --folder log --pins phone/pins --bundle published/1.bundle published/1.tlog-proof
run verify --pins phone/pins --memory phone/memory published

title "The members run: each answers people, operators and the others at an address of its own"
(umask 077 && head -c 32 /dev/urandom >admission.key) # who reads it admits whom they like
start() {
    "$strongroom" fleet run --folder "sites/$1" --listen "$(people "$1")" --operations "$(operators "$1")" \
        --admit-anybody admission.key --published published --pins phone/pins >>"site-$1.log" 2>&1 &
    members[$1]=$!
}
table() { "$strongroom" fleet status "${addresses[@]}"; }
addresses=()
stands() { # until those who vote are these, and every member that is asked is ready
    for _ in $(seq 300); do
        if table >table && grep -qF "vote: $1;" table && [ "$(grep -c '  ready$' table)" = "${#addresses[@]}" ]; then
            cat table
            return
        fi
        sleep 0.1
    done
    cat table
    tail -n 3 site-*.log
    echo "THE FLEET DOES NOT STAND" >&2
    exit 1
}
for number in 1 2 3 4 5; do
    start "$number"
    addresses+=("http://$(operators "$number")")
done
echo '$ strongroom fleet status'
stands "1, 2, 3, 4, 5"

title "Ada enrols at member 1, having verified whom she speaks to"
person() { # as Ada, at this member
    local command=$1 number=$2
    shift 2
    (cd phone && run "$command" --person ada --development --pins pins --published ../published --memory memory \
        --server "http://$(people "$number")" --keyring ../backup.keyring "$@")
}
printf 'my code\nmy code\n' | person enrol 1 --new-backup
cp phone/backup.key the-key
rm phone/backup.key

title "Two members are killed, the leader among them; she recovers at another"
leader=$(awk '$3 == "leads" { print $1 }' table)
other=$((leader % 5 + 1))
survivor=$((other % 5 + 1))
{ kill -9 "${members[$leader]}" "${members[$other]}"; wait "${members[$leader]}" "${members[$other]}"; } 2>/dev/null || true
echo "killed: members $leader, which led, and $other"
for _ in $(seq 30); do
    if printf 'my code\n' | person recover "$survivor"; then break; fi
    sleep 0.5
done
cmp phone/backup.key the-key
rm phone/backup.key
table || true

title "Member $other starts again; the disk of member $leader is lost, and both signers name member 6 in its place"
unset "members[$leader]"
start "$other"
rm -r "sites/$leader"
addresses=() staying=()
for number in 1 2 3 4 5; do
    [ "$number" = "$leader" ] || { staying+=("$number"); addresses+=("http://$(operators "$number")"); }
done
at="http://$(operators "$survivor")"
name_members members-2 members-1 "${staying[@]}" 6
run fleet obey --at "$at" members-2
run fleet take --folder sites/6 --artifact born/fleet-keys.json --statement members-2 --from "$at"
start 6
addresses+=("http://$(operators 6)")
stands "$(printf '%s, ' "${staying[@]}")6"

title "Keys turn at one member, and she recovers at the new one, under the next epoch"
run fleet rotate --at "$at" epoch
run fleet rotate --at "$at" tickets
printf 'my code\n' | person recover 6
cmp phone/backup.key the-key
rm phone/backup.key
run fleet rewrap --at "$at"
run fleet retire --at "$at"
run fleet keys --at "$at"
sleep 2 # the others take the keys from there, well before this

title "A majority is lost for good: two disks are left, and whoever asks is told to come again"
kill -9 "${members[@]}" 2>/dev/null
wait 2>/dev/null || true
members=()
rm -r "sites/${staying[0]}" "sites/${staying[1]}" "sites/${staying[2]}"
left=${staying[3]}
echo "left: members $left and 6"
run fleet survey --folder sites/6 | tee survey-6
run fleet survey --folder "sites/$left" | tee survey-left
place() { sed -n 's/^last row \([0-9]*\) of term \([0-9]*\);.*/\2 \1/p' "$1"; }
newest=$(printf '%s 6\n%s %s\n' "$(place survey-6)" "$(place survey-left)" "$left" | sort -n -k1,1 -k2,2 | tail -n 1)
newest=${newest##* }
[ "$newest" = 6 ] && surveyed=survey-6 || surveyed=survey-left
echo "the signers take what member $newest has"

title "Both signers have three others go on from it; each account keeps one attempt"
for number in 7 8 9; do born "$number"; done
arguments=()
for number in 7 8 9; do arguments+=(--member "${named[$number]}"); done
quietly statement refound --artifact born/fleet-keys.json --out refound --number 1 --previous members-2 \
    --backup "$(sed -n 's/^backup //p' "$surveyed")" "${arguments[@]}"
run statement sign --key keys/auditor refound
run statement sign --key keys/operator refound
for number in 7 8 9; do
    run fleet hand-over --folder "sites/$newest" --statement refound --member "$number" \
        --channel-key "sites/$number/channel.pub" "keys-$number"
done
takes() { # how, a member, and where the backup is
    "$1" fleet take --folder "sites/$2" --artifact born/fleet-keys.json --statement refound --keys "keys-$2" \
        --backup "$3" --of "$newest"
}
echo "a wrong path leaves nothing behind, and what was taken is not taken again"
takes refused 7 sites/8
for number in 7 8 9; do takes run "$number" "sites/$newest"; done
takes refused 7 "sites/$newest"
rm -r "sites/$left" sites/6 keys-*
addresses=()
for number in 7 8 9; do
    start "$number"
    addresses+=("http://$(operators "$number")")
done
stands "7, 8, 9"
printf 'my code\n' | person recover 8
cmp phone/backup.key the-key

title "Everybody stops in peace"
kill "${members[@]}"
for number in "${!members[@]}"; do wait "${members[$number]}" || { echo "member $number did not" >&2; exit 1; }; done
members=()
echo "Everything was as it says."
