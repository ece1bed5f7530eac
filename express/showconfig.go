package express

import (
	"context"
	"fmt"
	"io"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/internal/quote"
)

// showConfig is the command show-config: it prints the configuration that start-server
// would write, with a comment wherever the option behind the lines changes.
func showConfig(ctx context.Context, c *Console, inv *Invocation, s *Server) (int, error) {
	d, err := resolve(ctx, c, inv, s)
	if err != nil {
		return 1, err
	}
	file, text, err := d.Configuration()
	if err != nil {
		return 1, err
	}
	_, err = io.WriteString(c.Stdout, chosen(s)+annotated(s, file, text))
	return 0, err
}

// chosen lists the options with the source of each, if any does not come from the command
// line: not every option is visible in httpd.conf.
func chosen(s *Server) string {
	var b strings.Builder
	elsewhere := false
	for _, o := range config.Table().Options() {
		if !s.Given(o) {
			continue
		}
		source := s.Origin(o)
		elsewhere = elsewhere || source != ""
		if source == "" {
			source = "command line"
		}
		fmt.Fprintf(&b, "#   %s  (%s)\n", shellWords(s.Again(o)), source)
	}
	if !elsewhere {
		return ""
	}
	return "# Options, and where each comes from:\n" + b.String() + "\n"
}

func annotated(s *Server, file *conf.File, text string) string {
	var b strings.Builder
	last := ""
	for k, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		origin := s.Label(file.Origins(k + 1))
		if origin != last && k > 0 && !strings.HasPrefix(strings.TrimSpace(line), "</") {
			fmt.Fprintf(&b, "# %s\n", origin)
			last = origin
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

func shellWords(words []string) string {
	quotedWords := make([]string, len(words))
	for k, w := range words {
		quotedWords[k] = quote.Shell(w)
	}
	return strings.Join(quotedWords, " ")
}
