package pages

import (
	"path"
	"regexp"
	"strings"
)

// Command is a command line on a page.
type Command struct {
	Page string
	Line int
	Text string // the complete text, with here-documents and continuation lines
}

// Commands returns the command lines of a block: the lines after "$ " or "# " of a
// console block, and those of sh blocks that are not comments. Other blocks have none.
func (b Block) Commands() []Command {
	var all []Command
	end := "" // end of a here-document
	open := false
	for i, line := range strings.Split(strings.TrimSuffix(b.Text, "\n"), "\n") {
		line = strings.TrimPrefix(line, b.indent())
		last := len(all) - 1
		switch {
		case end != "":
			all[last].Text += "\n" + line
			if line == end {
				end = ""
			}
			continue
		case open:
			all[last].Text += "\n" + line
		case b.Lang == "console" && (strings.HasPrefix(line, "$ ") || strings.HasPrefix(line, "# ")):
			all = append(all, Command{b.Page, b.Line + i, line[2:]})
		case b.Lang == "sh" && strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#"):
			all = append(all, Command{b.Page, b.Line + i, line})
		default:
			continue
		}
		if m := hereDocument.FindStringSubmatch(line); m != nil {
			end = m[1]
		}
		open = strings.HasSuffix(line, `\`)
	}
	return all
}

var hereDocument = regexp.MustCompile(`<<-?['"]?([A-Za-z]+)['"]?`)

// indent is the common indentation of a block inside a list.
func (b Block) indent() string {
	first := strings.SplitN(b.Text, "\n", 2)[0]
	return first[:len(first)-len(strings.TrimLeft(first, " "))]
}

// Simple returns the programs that a command line starts, each with its arguments: those
// separated by pipes, "&&", ";" and "&", and those inside $( ). It omits variables before
// a program, redirections, and sudo with its options.
func (c Command) Simple() [][]string {
	text, _, _ := strings.Cut(c.Text, "\n"+heredocEnd(c.Text))
	if m := hereDocument.FindStringIndex(c.Text); m != nil {
		text = strings.SplitN(c.Text, "\n", 2)[0]
	}
	return simple(text)
}

func heredocEnd(text string) string {
	if m := hereDocument.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return "\x00"
}

// scanner splits a line.
type scanner struct {
	words   []string
	word    strings.Builder
	begun   bool
	all     [][]string
	discard bool // the next word is the target of a redirection
}

func (s *scanner) endWord() {
	if s.begun && !s.discard {
		s.words = append(s.words, s.word.String())
	}
	if s.begun {
		s.discard = false
	}
	s.word.Reset()
	s.begun = false
}

func (s *scanner) endCommand() {
	s.endWord()
	if words := bare(s.words); len(words) > 0 {
		s.all = append(s.all, words)
	}
	s.words = nil
}

func simple(text string) [][]string {
	var s scanner
	for i := 0; i < len(text); i++ {
		switch ch := text[i]; {
		case ch == '\\' && i+1 < len(text):
			i++
			if text[i] != '\n' {
				s.word.WriteByte(text[i])
				s.begun = true
			}
		case ch == '\'' || ch == '"':
			s.begun = true
			for i++; i < len(text) && text[i] != ch; i++ {
				if n := substitution(text[i:]); n > 0 && ch == '"' {
					s.all = append(s.all, simple(text[i+2:i+n-1])...)
				}
				s.word.WriteByte(text[i])
			}
		case substitution(text[i:]) > 0:
			n := substitution(text[i:])
			s.all = append(s.all, simple(text[i+2:i+n-1])...)
			s.word.WriteString(text[i : i+n])
			s.begun = true
			i += n - 1
		case ch == '#' && !s.begun:
			s.endCommand()
			return s.all
		case ch == ' ' || ch == '\t' || ch == '\n':
			s.endWord()
			if ch == '\n' {
				s.endCommand()
			}
		case ch == '>' || ch == '<':
			if w := s.word.String(); w == "2" || w == "1" {
				s.word.Reset()
				s.begun = false
			}
			s.endWord()
			for i+1 < len(text) && strings.ContainsRune(">&<", rune(text[i+1])) {
				i++
			}
			s.discard = true
		case ch == '|' || ch == ';' || ch == '&':
			s.endCommand()
		default:
			s.word.WriteByte(ch)
			s.begun = true
		}
	}
	s.endCommand()
	return s.all
}

// substitution returns the length of the $( ) at the beginning of text, or 0.
func substitution(text string) int {
	if !strings.HasPrefix(text, "$(") {
		return 0
	}
	depth := 0
	for i, ch := range text {
		switch ch {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

// bare removes the words before the program.
func bare(words []string) []string {
	for len(words) > 0 {
		switch {
		case assignment.MatchString(words[0]), words[0] == "export", words[0] == "exec", words[0] == "sudo":
			words = words[1:]
		case words[0] == "-u" && len(words) > 1:
			words = words[2:]
		default:
			return words
		}
	}
	return nil
}

// Program reports whether the words call a program of that name, in any directory, and
// returns its arguments.
func Program(words []string, name string) ([]string, bool) {
	if len(words) > 0 && path.Base(words[0]) == name {
		return words[1:], true
	}
	return nil, false
}
