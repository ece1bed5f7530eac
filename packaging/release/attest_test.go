//go:build unix

package release

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/packaging"
	"modwsgi/packaging/sign"
)

const (
	wheelOne = "mod_wsgi-5.0.2-cp311-cp311-linux_x86_64.whl"
	wheelTwo = "mod_wsgi_httpd-2.4.68-py3-none-linux_x86_64.whl"
)

// ecKey returns the ECDSA signer of keys and the option of verify-release.
func ecKey(t *testing.T) (Signer, []string) {
	t.Helper()
	signers, options := keys(t)
	for _, s := range signers {
		if _, is := s.(sign.Attester); is {
			return s, options["ecdsa"]
		}
	}
	t.Fatal("no key attests")
	return nil, nil
}

// sumAgain makes the list of checksums match the files, and signs it: what the owner of
// the key would publish by mistake, or had signed at another time.
func sumAgain(t *testing.T, dir string, s Signer) {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if err != nil || d.IsDir() || strings.HasPrefix(name, SumsName) {
			return err
		}
		sum, err := digest.File(path)
		b.WriteString(sum + "  " + name + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	signature, err := s.Sign(SumsName, []byte(b.String()), at)
	if err := errors.Join(err, os.WriteFile(filepath.Join(dir, SumsName), []byte(b.String()), 0o644), os.WriteFile(filepath.Join(dir, SumsName+s.Suffix()), signature, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// forge writes a statement and its envelope, signed with a key.
func forge(dir, name string, text []byte, s Signer) error {
	signed, err := s.(sign.Attester).Envelope(statementMedia, text)
	return errors.Join(err, os.WriteFile(filepath.Join(dir, name+statementSuffix), text, 0o644), os.WriteFile(filepath.Join(dir, name+envelopeSuffix), signed, 0o644))
}

// change edits a file.
func change(dir, name string, edit func([]byte) []byte) error {
	path := filepath.Join(dir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, edit(data), 0o644)
}

func copyFile(dir, from, to string) error {
	data, err := os.ReadFile(filepath.Join(dir, from))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, to), data, 0o644)
}

// TestVerifyStatements: with a signed list of checksums that matches every file, the
// statements are still checked for themselves.
func TestVerifyStatements(t *testing.T) {
	if testing.Short() || !tool("openssl") {
		t.Skip("needs openssl, and is left out with -short")
	}
	key, option := ecKey(t)
	other, _ := ecKey(t)
	statement := func(dir, name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name+statementSuffix))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, c := range map[string]struct {
		change func(dir string) error
		option []string
		code   int
		says   string
	}{
		"untouched": {func(string) error { return nil }, nil, 0, "19 files match SHA256SUMS"},
		"tampered payload": {func(d string) error {
			return change(d, wheelOne+envelopeSuffix, func(b []byte) []byte {
				var e map[string]any
				_ = json.Unmarshal(b, &e)
				old := e["payload"].(string)
				text, _ := base64.StdEncoding.DecodeString(old)
				text = bytes.Replace(text, []byte("builder/local"), []byte("builder/other"), 1)
				return bytes.Replace(b, []byte(old), []byte(base64.StdEncoding.EncodeToString(text)), 1)
			})
		}, nil, 3, wheelOne + ".intoto.jsonl is not " + wheelOne + ".intoto.json signed by the given key"},
		"tampered statement": {func(d string) error {
			return change(d, wheelOne+statementSuffix, func(b []byte) []byte { return bytes.Replace(b, []byte("builder/local"), []byte("builder/other"), 1) })
		}, nil, 3, "signed by the given key"},
		"wrong key": {func(d string) error { return forge(d, wheelOne, statement(d, wheelOne), other) }, nil, 3, "signed by the given key"},
		"swapped subject": {func(d string) error {
			return forge(d, wheelOne, bytes.Replace(statement(d, wheelOne), []byte(wheelOne), []byte(wheelTwo), 1), key)
		}, nil, 3, "is not a statement about this " + wheelOne},
		"subject with another digest": {func(d string) error {
			sum, _ := digest.File(filepath.Join(d, wheelTwo))
			own, _ := digest.File(filepath.Join(d, wheelOne))
			return forge(d, wheelOne, bytes.Replace(statement(d, wheelOne), []byte(own), []byte(sum), 1), key)
		}, nil, 3, "is not a statement about this " + wheelOne},
		"two subjects": {func(d string) error {
			return forge(d, wheelOne, bytes.Replace(statement(d, wheelOne), []byte("    }\n  ],"), []byte("    },\n    {\n      \"name\": \"x\"\n    }\n  ],"), 1), key)
		}, nil, 3, "is not a statement about this " + wheelOne},
		"statement for another artifact": {func(d string) error {
			return errors.Join(copyFile(d, wheelTwo+statementSuffix, wheelOne+statementSuffix), copyFile(d, wheelTwo+envelopeSuffix, wheelOne+envelopeSuffix))
		}, nil, 3, "is not a statement about this " + wheelOne},
		"replayed envelope": {func(d string) error { return copyFile(d, wheelTwo+envelopeSuffix, wheelOne+envelopeSuffix) }, nil, 3, "signed by the given key"},
		"replayed under another name": {func(d string) error {
			return errors.Join(copyFile(d, wheelOne, "evil.whl"), copyFile(d, wheelOne+statementSuffix, "evil.whl"+statementSuffix), copyFile(d, wheelOne+envelopeSuffix, "evil.whl"+envelopeSuffix))
		}, nil, 3, "evil.whl.intoto.json is not a statement about this evil.whl"},
		"without its artifact": {func(d string) error {
			return errors.Join(copyFile(d, wheelOne+envelopeSuffix, "gone.whl"+envelopeSuffix), copyFile(d, wheelOne+statementSuffix, "gone.whl"+statementSuffix))
		}, nil, 3, "is a statement without its artifact"},
		"truncated": {func(d string) error {
			return change(d, wheelOne+envelopeSuffix, func(b []byte) []byte { return b[:len(b)/2] })
		}, nil, 3, "signed by the given key"},
		"empty":         {func(d string) error { return os.WriteFile(filepath.Join(d, wheelOne+envelopeSuffix), nil, 0o644) }, nil, 3, "signed by the given key"},
		"no envelope":   {func(d string) error { return os.Remove(filepath.Join(d, wheelOne+envelopeSuffix)) }, nil, 3, "the signed statement " + wheelOne + ".intoto.jsonl is missing"},
		"older release": {func(d string) error { return os.Remove(filepath.Join(d, wheelOne+envelopeSuffix)) }, []string{"--no-envelopes"}, 0, "18 files"},
		"no statement":  {func(d string) error { return os.Remove(filepath.Join(d, wheelOne+statementSuffix)) }, nil, 3, "is a statement without its artifact or without " + wheelOne + ".intoto.json"},
		"other type of payload": {func(d string) error {
			signed, err := key.(sign.Attester).Envelope("text/plain", statement(d, wheelOne))
			return errors.Join(err, os.WriteFile(filepath.Join(d, wheelOne+envelopeSuffix), signed, 0o644))
		}, nil, 3, "signed by the given key"},
		"signature of the statement alone": {func(d string) error {
			plain, err := key.Sign("", statement(d, wheelOne), at)
			return errors.Join(err, change(d, wheelOne+envelopeSuffix, func(b []byte) []byte {
				before, _, _ := bytes.Cut(b, []byte(`"sig":"`))
				return append(append(before, `"sig":"`+strings.TrimSpace(string(plain))...), "\"}]}\n"...)
			}))
		}, nil, 3, "signed by the given key"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a 'dist'")
			makeRelease(t, dir, key)
			if err := c.change(dir); err != nil {
				t.Fatal(err)
			}
			sumAgain(t, dir, key)
			args := append(append(append([]string{}, option...), c.option...), dir)
			if code, out := verify(t, args...); code != c.code || !strings.Contains(out, c.says) {
				t.Errorf("exit code %d: %s", code, out)
			}
		})
	}
}

// TestStatementsOfEarlierRuns: artifacts of earlier runs are signed with those of this
// one, and a signature never stays beside another statement.
func TestStatementsOfEarlierRuns(t *testing.T) {
	key, option := ecKey(t)
	dir := filepath.Join(t.TempDir(), "dist")
	makeRelease(t, dir)
	if _, err := os.Stat(filepath.Join(dir, wheelOne+envelopeSuffix)); err == nil {
		t.Fatal("an envelope without a key")
	}
	again := func(signers ...Signer) error { // makes nothing
		d, err := packaging.Open(dir, false)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Abort()
		if err := Finish(t.Context(), d, Options{Time: at, Tool: "1.2.3", Signers: signers}); err != nil {
			return err
		}
		return d.Commit()
	}
	if err := again(key); err != nil {
		t.Fatal(err)
	}
	first := read(t, filepath.Join(dir, SumsName))
	if code, out := verify(t, append(option, dir)...); code != 0 || !strings.Contains(out, "19 files") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if err := again(key); err != nil || read(t, filepath.Join(dir, SumsName)) != first {
		t.Errorf("signed again: %v, or other bytes", err)
	}
	if err := again(); err != nil || read(t, filepath.Join(dir, SumsName)) != first { // the statements are the same
		t.Errorf("without a key: %v, or other files", err)
	}
	makeRelease(t, dir)
	if _, err := os.Stat(filepath.Join(dir, wheelOne+envelopeSuffix)); err == nil {
		t.Error("a stale envelope is there")
	}
	if code, out := verify(t, "--unsigned", dir); code != 0 || !strings.Contains(out, "17 files") {
		t.Errorf("exit code %d: %s", code, out)
	}
	for name, edit := range map[string]func([]byte) []byte{
		"of another artifact": func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(wheelOne), []byte(wheelTwo)) },
		"not JSON":            func([]byte) []byte { return []byte("{") },
	} {
		makeRelease(t, dir)
		if err := change(dir, wheelOne+statementSuffix, edit); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(filepath.Join(dir, SumsName))
		if err := again(key); fault.ClassOf(err) != fault.Environment || !strings.Contains(err.Error(), "was not signed") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
