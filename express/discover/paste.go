package discover

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// mainSection is a section of a Paste Deploy file that is an application called main.
var mainSection = regexp.MustCompile(`^\s*\[\s*(app|application|composite|composit|pipeline|filter-app)\s*:\s*main\s*\]`)

// preferred is the file for development, where a project has several for one application.
const preferred = "development.ini"

// paste returns the applications of Paste Deploy files.
func (s *search) paste(p *project) (all []*Application) {
	if p.bare {
		return nil
	}
	paths, _ := filepath.Glob(filepath.Join(quoteGlob(p.dir), "*.ini"))
	for _, path := range paths {
		data, ok := s.text(path)
		if !ok {
			continue
		}
		line := 0
		for text := range strings.Lines(string(data)) {
			line++
			if section := mainSection.FindString(text); section != "" {
				a := pasteApplication(p, path)
				a.Name = "Paste Deploy application in " + s.relative(path)
				a.Why = []string{fmt.Sprintf("%s, line %d: %s", s.relative(path), line, strings.TrimSpace(section))}
				all = append(all, a)
				break
			}
		}
	}
	if k := slices.IndexFunc(all, func(a *Application) bool { return filepath.Base(a.File) == preferred }); k >= 0 && len(all) > 1 {
		one := all[k]
		for _, a := range all {
			if a != one {
				one.Why = append(one.Why, s.relative(a.File)+" is not for development")
			}
		}
		return []*Application{one}
	}
	return all
}

func pasteApplication(p *project, path string) *Application {
	return &Application{
		Kind: Paste, Framework: "Paste Deploy", Name: "Paste Deploy application in " + filepath.Base(path), File: path,
		Type: "paste", Entry: path, Directory: p.dir, PythonPath: p.path(),
	}
}
