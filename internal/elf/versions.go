package elf

import (
	stdelf "debug/elf"
	"fmt"
	"slices"
)

// Need is a library that a file needs, with the symbol versions that it must have.
type Need struct {
	Library  string   // as DT_NEEDED and the version table name it
	Versions []string // sorted: "GLIBC_2.34", "OPENSSL_3.0.0"
}

// VersionNeeds returns the symbol versions that the file needs, by library in the order
// of its table, or nil if it has none (a static binary, musl).
func (f *File) VersionNeeds() ([]Need, error) {
	if f.file.SectionByType(stdelf.SHT_GNU_VERNEED) == nil {
		return nil, nil
	}
	table, err := f.file.DynamicVersionNeeds()
	if err != nil {
		return nil, fmt.Errorf("read version requirements: %w", err)
	}
	var needs []Need
	for _, n := range table {
		need := Need{Library: n.Name}
		for _, d := range n.Needs {
			need.Versions = append(need.Versions, d.Dep)
		}
		slices.Sort(need.Versions)
		needs = append(needs, need)
	}
	return needs, nil
}

// Requirement is a symbol that a file imports with a version.
type Requirement struct {
	Symbol  string // "memcpy"
	Version string // "GLIBC_2.14"
	Library string // as the version table names it
}

// Requirements returns the imported symbols that have a version, in the order of the
// symbol table.
func (f *File) Requirements() ([]Requirement, error) {
	symbols, err := f.symbols()
	if err != nil {
		return nil, err
	}
	var all []Requirement
	for _, s := range symbols {
		if s.Section == stdelf.SHN_UNDEF && s.Name != "" && s.Version != "" {
			all = append(all, Requirement{s.Name, s.Version, s.Library})
		}
	}
	return all, nil
}

// Undefined returns the names that the file imports, sorted.
func (f *File) Undefined() ([]string, error) {
	symbols, err := f.symbols()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range symbols {
		if s.Section == stdelf.SHN_UNDEF && s.Name != "" && stdelf.ST_BIND(s.Info) != stdelf.STB_WEAK {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Import is a name that a file imports.
type Import struct {
	Name    string
	Library string // library that it was linked to, by the version table; "" without a version
}

// Imports returns the names that the file imports, in the order of its symbol table.
func (f *File) Imports() ([]Import, error) {
	symbols, err := f.symbols()
	if err != nil {
		return nil, err
	}
	var all []Import
	for _, s := range symbols {
		if s.Section == stdelf.SHN_UNDEF && s.Name != "" {
			all = append(all, Import{s.Name, s.Library})
		}
	}
	return all, nil
}

// Defined returns the names that the file exports, sorted, without the names of symbol
// versions.
func (f *File) Defined() ([]string, error) {
	symbols, err := f.symbols()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range symbols {
		if s.Section != stdelf.SHN_UNDEF && s.Section != stdelf.SHN_ABS && s.Name != "" && stdelf.ST_BIND(s.Info) != stdelf.STB_LOCAL {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
