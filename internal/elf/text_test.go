package elf

import (
	"slices"
	"testing"
)

func TestVersionsIn(t *testing.T) {
	data := []byte("x3.8.1\x0013.8.2 3.8.18+\x00.3.8.3 3.8 3.8.x Apache/2.4.68 (Apache/2.x 3.8.0rc1\x003.8.7")
	if got, want := VersionsIn(data, "", "3.8."), []string{"3.8.1", "3.8.18", "3.8.0rc1", "3.8.7"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := VersionsIn(data, "Apache/", "2."), []string{"2.4.68"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
