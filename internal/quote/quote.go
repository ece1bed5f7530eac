// Package quote writes words as a shell reads them. Every command that is shown to a
// person, or written into a script, gets its paths and values from here.
package quote

import "strings"

const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-"

// Shell returns s as one word of a POSIX shell.
func Shell(s string) string {
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
