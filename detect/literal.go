package detect

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxSysconfig = 1 << 20 // limit in bytes of a _sysconfigdata file; a real one has fifty thousand
	maxVars      = 1 << 14 // limit of variables; a real file has a thousand
)

var errNotLiteral = errors.New("it is not a dictionary of strings and numbers")

// buildTimeVars reads a _sysconfigdata_*.py as data: the dictionary build_time_vars,
// whose values are strings (adjacent ones are concatenated) and numbers, as the pprint
// module writes them
// (https://github.com/python/cpython/blob/main/Lib/sysconfig/__main__.py). It executes
// nothing; anything else in the dictionary is an error.
func buildTimeVars(data []byte) (map[string]string, error) {
	_, body, found := bytes.Cut(data, []byte("build_time_vars = {"))
	if !found || len(data) > maxSysconfig {
		return nil, errNotLiteral
	}
	p := &literals{rest: string(body)}
	out := map[string]string{}
	for {
		if p.skip("}") {
			return out, nil
		}
		key, err := p.value()
		if err != nil {
			return nil, err
		}
		if !p.skip(":") {
			return nil, errNotLiteral
		}
		if out[key], err = p.value(); err != nil {
			return nil, err
		}
		if !p.skip(",") && !strings.HasPrefix(p.rest, "}") || len(out) > maxVars {
			return nil, errNotLiteral
		}
	}
}

type literals struct{ rest string }

// skip skips white space, and then the token if it comes next.
func (p *literals) skip(token string) bool {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	rest, ok := strings.CutPrefix(p.rest, token)
	if ok {
		p.rest = rest
	}
	return ok
}

// value reads adjacent strings, or one bare word.
func (p *literals) value() (string, error) {
	p.skip("")
	if p.rest == "" {
		return "", errNotLiteral
	}
	if p.rest[0] != '\'' && p.rest[0] != '"' {
		n := strings.IndexAny(p.rest, ",:} \t\r\n")
		if n <= 0 || strings.Trim(p.rest[:n], "-0123456789.") != "" && p.rest[:n] != "None" && p.rest[:n] != "True" && p.rest[:n] != "False" {
			return "", errNotLiteral
		}
		word := p.rest[:n]
		p.rest = p.rest[n:]
		return word, nil
	}
	var out strings.Builder
	for p.rest != "" && (p.rest[0] == '\'' || p.rest[0] == '"') {
		if err := p.text(&out); err != nil {
			return "", err
		}
		p.skip("")
	}
	return out.String(), nil
}

// text reads one quoted string.
func (p *literals) text(out *strings.Builder) error {
	quote := p.rest[0]
	s := p.rest[1:]
	for s != "" && s[0] != quote {
		if s[0] == '\n' {
			return errNotLiteral
		}
		if s[0] == '\\' && len(s) > 1 && s[1] == '\n' {
			s = s[2:]
			continue
		}
		c, multibyte, tail, err := strconv.UnquoteChar(s, quote)
		if err != nil {
			// strconv refuses an escaped other quote, which Python allows.
			if len(s) < 2 || s[0] != '\\' || s[1] != '\'' && s[1] != '"' {
				return errNotLiteral
			}
			c, multibyte, tail = rune(s[1]), false, s[2:]
		}
		if c < utf8.RuneSelf || !multibyte {
			out.WriteByte(byte(c))
		} else {
			out.WriteRune(c)
		}
		s = tail
	}
	if s == "" {
		return errNotLiteral
	}
	p.rest = s[1:]
	return nil
}
