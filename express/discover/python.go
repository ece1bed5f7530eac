package discover

import (
	"context"
	_ "embed"
	"encoding/json"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// program reads Python sources, see the comment in it.
//
//go:embed facts.py
var program string

// question is what the program is asked.
type question struct {
	Files    []source `json:"files"`
	Settings *wanted  `json:"settings,omitempty"`
}

type source struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

// wanted are settings whose values the files determine, one after the other.
type wanted struct {
	Files []int    `json:"files"`
	Names []string `json:"names"`
}

// answer is the program's answer.
type answer struct {
	Facts    []facts            `json:"facts"`
	Settings map[string]setting `json:"settings"`
	Taken    []string           `json:"taken"`
}

// facts are those about one module.
type facts struct {
	Error     string             `json:"error"`
	Line      int                `json:"line"`
	Bindings  []binding          `json:"bindings"`
	Imports   []string           `json:"imports"`
	Stars     []string           `json:"stars"`
	Variables map[string]setting `json:"variables"`
}

// binding is a name at the top level of a module.
type binding struct {
	Name      string `json:"name"`
	Line      int    `json:"line"`
	Kind      string `json:"kind"`      // call, name, import, def, async, class, constant or other
	Value     string `json:"value"`     // what is called or imported: "flask.Flask"
	Arguments string `json:"arguments"` // of a call, as they are written
	Required  int    `json:"required"`  // arguments of a function
	Most      int    `json:"most"`      // positional ones; -1 for any number
}

// setting is a value that is known, or nil.
type setting struct {
	Value any    `json:"value"`
	File  string `json:"file"`
	Line  int    `json:"line"`
}

// text returns the value if it is a text.
func (s setting) text() string {
	text, _ := s.Value.(string)
	return text
}

func (f *Finder) ask(ctx context.Context, q question) (*answer, error) {
	input, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	output, err := f.Python(ctx, program, input)
	if err != nil {
		return nil, fault.New(fault.Environment, "name the application, so that nothing needs to be searched: see start-server", "read the project's Python sources: %w%s", err, run.Tail(err))
	}
	a := &answer{}
	if err := json.Unmarshal(output, a); err != nil || len(a.Facts) != len(q.Files) {
		return nil, fault.New(fault.Environment, "", "read the project's Python sources: unexpected answer (%v)", err)
	}
	return a, nil
}
