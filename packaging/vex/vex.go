// Package vex tells scanners which known vulnerabilities of the components of an artifact
// apply to it, as an OpenVEX document (https://github.com/openvex/spec, 0.2.0): a scanner
// sees a version, and not which parts of it were built. It knows the formats of neither
// artifacts nor bills of materials, and judges nothing itself: internal/recipe does.
package vex

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"modwsgi/internal/recipe"
	"modwsgi/packaging"
)

// Product is the artifact that a document is about.
type Product struct {
	PURL   string // "" for an artifact without a package URL
	SHA256 string
	Time   time.Time // of the document
	Author string    // who vouches for it: the URI of the builder
	Tool   string    // version of modwsgi
}

type document struct {
	Context    string      `json:"@context"`
	ID         string      `json:"@id"`
	Author     string      `json:"author"`
	Timestamp  string      `json:"timestamp"`
	Version    int         `json:"version"`
	Tooling    string      `json:"tooling"`
	Statements []statement `json:"statements"`
}

type statement struct {
	Vulnerability vulnerability `json:"vulnerability"`
	Products      []product     `json:"products"`
	Status        string        `json:"status"`
	Justification string        `json:"justification,omitempty"`
	Impact        string        `json:"impact_statement,omitempty"`
	Action        string        `json:"action_statement,omitempty"`
}

type vulnerability struct {
	Name string `json:"name"`
}

// product is an artifact with the component in question, or that component alone.
type product struct {
	ID            string            `json:"@id"`
	Identifiers   map[string]string `json:"identifiers,omitempty"`
	Hashes        map[string]string `json:"hashes,omitempty"`
	Subcomponents []product         `json:"subcomponents,omitempty"`
}

// JSON returns the document, or nil if no vulnerability is known of the components. Equal
// contents produce equal bytes.
//
// Every statement names two products: the artifact with the component in it, and the
// component. A scanner of a bill of materials looks for the latter, because that file is
// not the artifact. The component's package URL has its archive and its features in it,
// so that the statement is not about other builds of that version.
func JSON(p Product, components []packaging.Component) ([]byte, error) {
	d := document{
		Context: "https://openvex.dev/ns/v0.2.0", Author: p.Author, Timestamp: p.Time.UTC().Format(time.RFC3339), Version: 1, Tooling: "modwsgi " + p.Tool,
	}
	for _, c := range packaging.SortComponents(components) {
		if c.Kind != packaging.FromSource || c.PURL == "" { // what is copied was built by others
			continue
		}
		for _, a := range recipe.Catalogue().Assess(c.Name, c.Version, c.Features) {
			d.Statements = append(d.Statements, state(p, c, a))
		}
	}
	if len(d.Statements) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("write VEX document: %w", err)
	}
	d.ID = fmt.Sprintf("tag:modwsgi,2026:vex/%x", sha256.Sum256(text))
	text, err = json.MarshalIndent(d, "", "  ")
	return append(text, '\n'), err
}

// state is the statement about one vulnerability of one component.
func state(p Product, c packaging.Component, a recipe.Assessment) statement {
	part := product{ID: c.PURL}
	whole := product{ID: "urn:sha256:" + p.SHA256, Hashes: map[string]string{"sha-256": p.SHA256}, Subcomponents: []product{part}}
	if p.PURL != "" {
		whole.ID, whole.Identifiers = p.PURL, map[string]string{"purl": p.PURL}
	}
	s := statement{Vulnerability: vulnerability{a.ID}, Products: []product{whole, part}}
	switch {
	case a.Applies:
		s.Status, s.Action = "affected", a.Summary
	case a.Present:
		s.Status, s.Justification, s.Impact = "not_affected", "vulnerable_code_not_in_execute_path", a.Reason
	default:
		s.Status, s.Justification, s.Impact = "not_affected", "vulnerable_code_not_present", a.Reason
	}
	return s
}
