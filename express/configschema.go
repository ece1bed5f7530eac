package express

import (
	"context"

	"modwsgi/express/config"
	"modwsgi/express/sources"
)

// configSchema is the command config-schema.
func configSchema(_ context.Context, c *Console, _ *Invocation, _ *Server) (int, error) {
	text, err := sources.Schema(config.Table())
	if err != nil {
		return 1, err
	}
	_, err = c.Stdout.Write(text)
	return 0, err
}
