package toolchain

import "testing"

func TestNative(t *testing.T) {
	for word, want := range map[string]bool{"-march=native": true, "-mcpu=native": true, "-mtune=native": true, "-march=x86-64": false, "native": false, "-DX=native": false} {
		if got := (&Toolchain{CC: []string{"gcc", word}}).Native(); got != want {
			t.Errorf("%s: %v", word, got)
		}
	}
	two := "processor : 0\nmodel name : A\nflags : sse avx\ncpu MHz : 1\n\nprocessor : 1\nmodel name : A\nflags : sse avx\ncpu MHz : 2\n"
	one := "processor : 0\nmodel name : A\nflags : sse avx\ncpu MHz : 9\n"
	if abilities(one) != abilities(two) {
		t.Error("the number of cores or the clock rate matters")
	}
	if abilities(one) == abilities("model name : A\nflags : sse\n") {
		t.Error("features do not matter")
	}
}
