// What Go's sumdb/note and sumdb/tlog say of the cases in a folder: a line a case, its name and two verdicts.
//
// They know signatures and trees, and nothing of namespaces, epochs and dates. Cosignatures of witnesses they do not know
// either; those are checked here by crypto/ed25519, as C2SP tlog-cosignature has them.
package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type section struct{ name, content string }

// The documents of a case, each behind a line with its name.
func sections(text string) []section {
	var all []section
	for _, line := range strings.SplitAfter(text, "\n") {
		if strings.HasPrefix(line, "-- ") {
			all = append(all, section{strings.TrimSpace(line[3:]), ""})
		} else if len(all) > 0 {
			all[len(all)-1].content += line
		}
	}
	return all
}

type pins struct {
	auditor, operator, log note.Verifier
	witnesses              []string
	quorum                 int
}

func readPins(text string) (pins, error) {
	var p pins
	var err error
	for _, line := range strings.Split(text, "\n") {
		word, value, _ := strings.Cut(line, " ")
		switch word {
		case "auditor":
			p.auditor, err = note.NewVerifier(value)
		case "operator":
			p.operator, err = note.NewVerifier(value)
		case "log":
			p.log, err = note.NewVerifier(value)
		case "witness":
			p.witnesses = append(p.witnesses, value)
		case "quorum":
			p.quorum, err = strconv.Atoi(value)
		}
		if err != nil {
			return p, fmt.Errorf("%s: %v", line, err)
		}
	}
	return p, nil
}

// A bundle's text, and its entry in the log: the text and one line of each signer.
func bundle(text string, p pins) ([]byte, error) {
	opened, err := note.Open([]byte(text), note.VerifierList(p.auditor, p.operator))
	if err != nil {
		return nil, err
	}
	entry := opened.Text + "\n"
	for _, signer := range []note.Verifier{p.auditor, p.operator} {
		found := false
		for _, sig := range opened.Sigs {
			if sig.Name == signer.Name() && sig.Hash == signer.KeyHash() {
				entry += "— " + sig.Name + " " + sig.Base64 + "\n"
				found = true
			}
		}
		if !found {
			return nil, errors.New("one of two has not signed")
		}
	}
	return []byte(entry), nil
}

// Whether a proof leads from an entry to a checkpoint that the log and enough witnesses have signed.
func proof(text string, entry []byte, p pins) error {
	head, checkpoint, ok := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("no proof")
	}
	lines = lines[1:]
	if strings.HasPrefix(lines[0], "extra ") {
		lines = lines[1:]
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[0], "index "), 10, 64)
	if err != nil {
		return err
	}
	var record tlog.RecordProof
	for _, line := range lines[1:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		record = append(record, hash)
	}
	opened, err := note.Open([]byte(checkpoint), note.VerifierList(p.log))
	if err != nil {
		return err
	}
	body := strings.Split(opened.Text, "\n")
	if len(body) != 4 || body[0] != p.log.Name() {
		return errors.New("another log's checkpoint")
	}
	size, err := strconv.ParseInt(body[1], 10, 64)
	if err != nil {
		return err
	}
	root, err := tlog.ParseHash(body[2])
	if err != nil {
		return err
	}
	seen := 0
	for _, witness := range p.witnesses {
		switch err := cosigned(opened, witness); err {
		case nil:
			seen++
		case errAbsent:
		default:
			return err
		}
	}
	if seen < p.quorum {
		return errors.New("too few witnesses")
	}
	return tlog.CheckRecord(record, size, root, index, tlog.RecordHash(entry))
}

var errAbsent = errors.New("the witness has not signed")

func cosigned(checkpoint *note.Note, witness string) error {
	parts := strings.SplitN(witness, "+", 3)
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 33 || key[0] != 4 {
		return errors.New("no witness's key")
	}
	for _, sig := range checkpoint.UnverifiedSigs {
		if sig.Name != parts[0] || fmt.Sprintf("%08x", sig.Hash) != parts[1] {
			continue
		}
		bytes, err := base64.StdEncoding.DecodeString(sig.Base64)
		if err != nil || len(bytes) != 4+8+64 {
			return errors.New("no cosignature")
		}
		message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(bytes[4:]), checkpoint.Text)
		if !ed25519.Verify(key[1:], []byte(message), bytes[12:]) {
			return errors.New("a cosignature that is not good")
		}
		return nil
	}
	return errAbsent
}

func verdict(err error) string {
	if err != nil {
		return "refuses"
	}
	return "accepts"
}

func main() {
	paths, err := filepath.Glob(filepath.Join(os.Args[1], "*.txt"))
	if err != nil {
		panic(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		var p pins
		var notes, proofs error
		var last string
		for _, it := range sections(string(text)) {
			switch it.name {
			case "pins":
				if p, err = readPins(it.content); err != nil {
					panic(err)
				}
			case "bundle":
				last = it.content
				if _, err := bundle(it.content, p); err != nil {
					notes = err
				}
			case "tlog-proof":
				entry, err := bundle(last, p)
				if err == nil {
					err = proof(it.content, entry, p)
				}
				if err != nil {
					proofs = err
				}
			}
		}
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		fmt.Println(name, verdict(notes), verdict(proofs))
	}
}
