//go:build unix && !linux

package logwriter

func growPipe(int, int) {}
