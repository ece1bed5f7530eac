package libpython

import "testing"

func TestVersionOf(t *testing.T) {
	for hex, want := range map[uint32]string{0x030b07f0: "3.11.7", 0x030e00c1: "3.14.0rc1", 0x030d00a6: "3.13.0a6", 0x030d00b2: "3.13.0b2"} {
		if got := versionOf(hex); got != want {
			t.Errorf("%#x: %q, want %q", hex, got, want)
		}
	}
}
