package settingsfile

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/tomlfile"
)

// Problem is a mistake, and its line in a file; 0 for one elsewhere.
type Problem struct {
	Line int
	Text string
}

// Problems are mistakes in any order.
type Problems []Problem

// Add adds a mistake. The text has its place already.
func (p *Problems) Add(line int, format string, args ...any) {
	*p = append(*p, Problem{line, fmt.Sprintf(format, args...)})
}

// Err returns one error of class Usage with the first ten mistakes in the order of the
// file, or nil without any mistake.
func (p Problems) Err(hint string) error {
	if len(p) == 0 {
		return nil
	}
	sort.SliceStable(p, func(i, j int) bool { return p[i].Line < p[j].Line })
	var texts []string
	for _, one := range p[:min(10, len(p))] {
		texts = append(texts, one.Text)
	}
	if n := len(p) - 10; n > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", n))
	}
	return fault.New(fault.Usage, hint, "%s", strings.Join(texts, "\n"))
}

// Shape is the kind of value that a setting has.
type Shape int

// The shapes.
const (
	Text     Shape = iota
	Texts          // a list of strings; a string stands for a list of one
	Number         // a whole number
	Fraction       // a number
	Toggle         // true or false
	Other          // something else, which the caller describes
)

// Wanted describes the values of a shape in TOML.
func (s Shape) Wanted() string {
	switch s {
	case Texts:
		return "a string or a list of strings"
	case Number:
		return "a whole number"
	case Fraction:
		return "a number"
	case Toggle:
		return "true or false"
	}
	return "a string"
}

// Kind describes a value of TOML.
func Kind(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case int64:
		return "a whole number"
	case float64:
		return "a number"
	case bool:
		return "true or false"
	case []any, []map[string]any:
		return "a list"
	case *tomlfile.Table, map[string]any:
		return "a table"
	}
	return "a date or time"
}

// Yes and No are words that people write for true and false.
var (
	Yes = []string{"1", "true", "yes", "on"}
	No  = []string{"0", "false", "no", "off"}
)

// Cure shows how the same value is written in the wanted shape, as the end of a message.
// It returns "" where that is not plain.
func Cure(wanted Shape, value any) string {
	words := wanted == Text || wanted == Texts
	switch v := value.(type) {
	case string:
		_, whole := strconv.Atoi(v)
		_, fraction := strconv.ParseFloat(v, 64)
		lower := strings.ToLower(v)
		switch {
		case wanted == Number && whole == nil, wanted == Fraction && fraction == nil:
			return ": write " + v + " without quotes"
		case wanted == Toggle && slices.Contains(Yes, lower):
			return ": write true"
		case wanted == Toggle && slices.Contains(No, lower):
			return ": write false"
		}
	case int64:
		if wanted == Toggle && (v == 0 || v == 1) {
			return fmt.Sprintf(": write %t", v == 1)
		}
		if words {
			return fmt.Sprintf(`: write "%d"`, v)
		}
	case float64:
		if words {
			return fmt.Sprintf(`: write "%g"`, v)
		}
	case time.Time:
		if words && v.Format(time.TimeOnly) == "00:00:00" {
			return v.Format(`: write "2006-01-02"`)
		}
	case []any:
		if wanted == Text && len(v) == 1 {
			return ": write the value without brackets"
		}
	}
	return ""
}
