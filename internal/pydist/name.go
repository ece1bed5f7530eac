package pydist

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	validName  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	separators = regexp.MustCompile(`[-_.]+`)
)

// NormalName returns the form in which two names of the same project are equal (PEP 503):
// lower case, every run of "-", "_" and "." a single "-".
func NormalName(name string) string {
	return strings.ToLower(separators.ReplaceAllString(name, "-"))
}

// versionSyntax is the grammar of PEP 440 with all the spellings that it tolerates.
var versionSyntax = regexp.MustCompile(`^v?(?:(\d+)!)?(\d+(?:\.\d+)*)` +
	`(?:[-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?(\d*))?` +
	`(?:-(\d+)|[-_.]?(post|rev|r)[-_.]?(\d*))?` +
	`(?:[-_.]?(dev)[-_.]?(\d*))?` +
	`(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?$`)

var preRelease = map[string]string{
	"a": "a", "alpha": "a", "b": "b", "beta": "b", "c": "rc", "rc": "rc", "pre": "rc", "preview": "rc",
}

// NormalVersion returns a version in the normal form of PEP 440, without its
// optional shortenings: "1.0-RC.1" becomes "1.0rc1", and "1.0.0" stays.
func NormalVersion(v string) (string, error) {
	m := versionSyntax.FindStringSubmatch(strings.ToLower(strings.TrimSpace(v)))
	if m == nil {
		return "", fmt.Errorf("%q is not a PEP 440 version", v)
	}
	var b strings.Builder
	if epoch := number(m[1]); epoch != "0" {
		b.WriteString(epoch + "!")
	}
	for i, n := range strings.Split(m[2], ".") {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(number(n))
	}
	if m[3] != "" {
		b.WriteString(preRelease[m[3]] + number(m[4]))
	}
	if m[5] != "" || m[6] != "" {
		b.WriteString(".post" + number(m[5]+m[7]))
	}
	if m[8] != "" {
		b.WriteString(".dev" + number(m[9]))
	}
	for i, part := range strings.FieldsFunc(m[10], func(r rune) bool { return strings.ContainsRune("-_.", r) }) {
		b.WriteByte("+."[min(i, 1)])
		if strings.Trim(part, "0123456789") == "" {
			part = number(part)
		}
		b.WriteString(part)
	}
	return b.String(), nil
}

// number drops leading zeros; an empty text is zero.
func number(digits string) string {
	if digits = strings.TrimLeft(digits, "0"); digits == "" {
		return "0"
	}
	return digits
}
