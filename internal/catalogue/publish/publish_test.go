package publish

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/recipe"
)

func repository(t *testing.T) (*Repository, *Keys, string) {
	t.Helper()
	dir := t.TempDir()
	keyDir := filepath.Join(dir, "keys")
	if err := NewKeys(keyDir); err != nil {
		t.Fatal(err)
	}
	keys, err := ReadKeys(keyDir)
	if err != nil {
		t.Fatal(err)
	}
	r := &Repository{Dir: filepath.Join(dir, "repository"), Lives: Default, Now: time.Now}
	if _, err := r.Init(keys, 1); err != nil {
		t.Fatal(err)
	}
	return r, keys, keyDir
}

func document(t *testing.T) *recipe.Document {
	t.Helper()
	d, err := recipe.ParseDocument(recipe.EmbeddedDocument().Encode())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// No key leaves its directory, and nothing but the keys that are needed is read.
func TestKeys(t *testing.T) {
	r, keys, keyDir := repository(t)
	if err := r.Publish(keys, document(t)); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(r.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), "PRIVATE") {
			t.Errorf("%s has a key", path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := NewKeys(keyDir); err == nil || fault.ClassOf(err) != fault.Usage {
		t.Errorf("keys were overwritten: %v", err)
	}
	for _, role := range []string{"root", "targets", "snapshot"} {
		if err := os.Remove(filepath.Join(keyDir, role+".pem")); err != nil {
			t.Fatal(err)
		}
	}
	online, err := ReadKeys(keyDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Renew(online); err != nil {
		t.Error(err)
	}
	if err := r.Publish(online, document(t)); err == nil || !strings.Contains(err.Error(), "targets.pem") {
		t.Errorf("published without a key: %v", err)
	}
	file := filepath.Join(keyDir, "timestamp.pem")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKeys(keyDir); err == nil || !strings.Contains(fault.HintOf(err), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKeys(keyDir); err == nil || owned.IsUntrusted(err) {
		t.Errorf("a file without a key: %v", err)
	}
	if _, err := ReadKeys(filepath.Join(keyDir, "none")); err == nil {
		t.Error("no directory")
	}
}

// What was published stays.
func TestPublishOnlyASuccessor(t *testing.T) {
	r, keys, _ := repository(t)
	if err := r.Renew(keys); err == nil {
		t.Error("renewed before anything was published")
	}
	if err := r.Publish(keys, document(t)); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(r.Dir, "timestamp.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(d *recipe.Document){
		"older":        func(d *recipe.Document) { d.Date = d.Date.Add(-time.Second) },
		"missing":      func(d *recipe.Document) { d.Archives = d.Archives[1:] },
		"another hash": func(d *recipe.Document) { d.Archives[0].SHA256 = strings.Repeat("ab", 32) },
	} {
		d := document(t)
		change(d)
		if err := r.Publish(keys, d); err == nil || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after, err := os.ReadFile(filepath.Join(r.Dir, "timestamp.json")); err != nil || string(after) != string(before) {
		t.Error("a refused catalogue changed the repository")
	}
	if err := os.WriteFile(filepath.Join(r.Dir, "2.targets.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Publish(keys, document(t)); err == nil || !strings.Contains(err.Error(), "other contents") {
		t.Errorf("a file of a version was replaced: %v", err)
	}
}

func TestRootsAreSignedByOldAndNewKeys(t *testing.T) {
	r, keys, _ := repository(t)
	if _, err := r.Init(keys, 1); err == nil {
		t.Error("a repository was made again")
	}
	dir := filepath.Join(t.TempDir(), "stranger")
	if err := NewKeys(dir); err != nil {
		t.Fatal(err)
	}
	stranger, err := ReadKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Rotate(stranger, stranger, 0); err == nil || fault.HintOf(err) == "" {
		t.Errorf("a stranger signed a root: %v", err)
	}
	if _, err := r.Rotate(keys, keys, 2); err == nil {
		t.Error("one key was enough for a threshold of two")
	}
	if path, err := r.Rotate(keys, stranger, 0); err != nil || filepath.Base(path) != "2.root.json" {
		t.Errorf("%s, %v", path, err)
	}
	if err := r.Publish(keys, document(t)); err == nil {
		t.Error("a replaced key signs")
	}
	if err := r.Publish(stranger, document(t)); err != nil {
		t.Error(err)
	}
	two := filepath.Join(t.TempDir(), "two")
	if err := NewKeys(two); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(two, "root-2.pem"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	pair, err := ReadKeys(two)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Rotate(stranger, pair, 2); err != nil {
		t.Error(err)
	}
	if _, err := r.Rotate(stranger, stranger, 0); err == nil {
		t.Error("one of two keys signed a root")
	}
	if _, err := (&Repository{Dir: t.TempDir(), Now: time.Now}).Rotate(keys, keys, 0); err == nil {
		t.Error("a directory without a root was rotated")
	}
}
