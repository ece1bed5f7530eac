package express

import (
	"context"
	"fmt"
	"io"
	"strings"

	"modwsgi/express/conf"
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
	_, err = io.WriteString(c.Stdout, annotated(s, file, text))
	return 0, err
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
