package prove

import (
	"os"

	"modwsgi/internal/run"
)

func options() Options {
	return Options{Runner: &run.Runner{}, Env: []string{"PATH=" + os.Getenv("PATH")}}
}
