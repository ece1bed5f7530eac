package config

import "testing"

func TestImpliedDebugMode(t *testing.T) {
	for _, line := range []string{"--enable-debugger", "--enable-coverage", "--enable-profiler", "--enable-recorder", "--enable-gdb"} {
		in, err := parseLine(line)
		if err != nil {
			t.Fatal(err)
		}
		in.ModuleVersion = "5.0.2"
		if err := (&Instance{Server: in, Warn: func(string) {}}).Settle(); err != nil || !DebugMode.In(in) {
			t.Errorf("%s: %v, debug mode %v", line, err, DebugMode.In(in))
		}
	}
}
