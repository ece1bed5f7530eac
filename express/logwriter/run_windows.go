package logwriter

import (
	"errors"
	"os"
	"time"
)

// Streams are what the program was started with.
type Streams struct {
	Executable    string
	Env           []string
	Stdin, Stdout *os.File
	Stderr        *os.File
}

// Run fails: no option that needs the program is available on Windows.
func Run(*Settings, Streams) error { return errors.New("write-log is not available on Windows") }

// Check finds nothing.
func Check(string) error { return nil }

// WaitForAll has nothing to wait for.
func WaitForAll(string, time.Duration) bool { return true }
