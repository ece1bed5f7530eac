//go:build unix

package flock

import "testing"

func TestTry(t *testing.T) {
	dir := t.TempDir()
	release, ok, err := Try(dir)
	if err != nil || !ok {
		t.Fatalf("first: %v, %v", ok, err)
	}
	if _, ok, err := Try(dir); err != nil || ok {
		t.Errorf("second: %v, %v", ok, err)
	}
	release()
	release, ok, err = Try(dir)
	if err != nil || !ok {
		t.Fatalf("after release: %v, %v", ok, err)
	}
	release()
	if _, _, err := Try(dir + "/no"); err == nil {
		t.Error("a directory that is not there was locked")
	}
}
