package release

import (
	"encoding/json"
	"maps"
	"slices"

	"modwsgi/packaging"
)

// The provenance statement of an artifact is an in-toto statement
// (https://github.com/in-toto/attestation, v1) with SLSA provenance
// (https://slsa.dev/spec/v1.0/provenance). It contains no time, so that it is the same
// when the artifact is made again.
type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     predicate `json:"predicate"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

type predicate struct {
	BuildDefinition buildDefinition `json:"buildDefinition"`
	RunDetails      runDetails      `json:"runDetails"`
}

type buildDefinition struct {
	BuildType            string               `json:"buildType"`
	ExternalParameters   map[string]string    `json:"externalParameters"`
	InternalParameters   map[string]string    `json:"internalParameters,omitempty"`
	ResolvedDependencies []resourceDescriptor `json:"resolvedDependencies"`
}

type resourceDescriptor struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type runDetails struct {
	Builder builder `json:"builder"`
}

type builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

// buildTypes is the prefix of the identifiers of our kinds of builds. They are names,
// not URLs (RFC 4151).
const buildTypes = "tag:modwsgi,2026:package/"

// statementType is the type of every statement.
const statementType = "https://in-toto.io/Statement/v1"

// DefaultBuilder is the builder of a statement if none is named.
const DefaultBuilder = "tag:modwsgi,2026:builder/local"

// provenance returns the statement for one artifact.
func provenance(a packaging.Artifact, o Options) ([]byte, error) {
	parameters := map[string]string{"kind": a.Kind}
	for _, k := range slices.Sorted(maps.Keys(a.Parameters)) {
		parameters[k] = a.Parameters[k]
	}
	internal := o.Parameters
	if len(a.Environment) > 0 {
		internal = maps.Clone(a.Environment)
		maps.Copy(internal, o.Parameters)
	}
	s := statement{
		Type:    statementType,
		Subject: []subject{{a.Name, map[string]string{"sha256": a.SHA256}}}, PredicateType: "https://slsa.dev/provenance/v1",
		Predicate: predicate{
			BuildDefinition: buildDefinition{BuildType: buildTypes + a.Kind + "/v1", ExternalParameters: parameters, InternalParameters: internal},
			RunDetails:      runDetails{builder{ID: o.builder(), Version: map[string]string{"modwsgi": o.Tool}}},
		},
	}
	deps := []resourceDescriptor{}
	for _, c := range packaging.SortComponents(slices.Concat(a.Components, a.Inputs)) {
		d := resourceDescriptor{Name: c.Name, URI: c.PURL, Annotations: map[string]string{"kind": c.Kind, "version": c.Version}}
		if c.URL != "" {
			d.URI = c.URL
		}
		if c.SHA256 != "" {
			d.Digest = map[string]string{"sha256": c.SHA256}
		}
		if c.Commit != "" {
			d.Digest = map[string]string{"gitCommit": c.Commit}
		}
		if c.Sum != "" {
			d.Annotations["sum"] = c.Sum
		}
		if c.Trust != "" {
			d.Annotations["trust"] = c.Trust
		}
		if c.File != "" {
			d.Annotations["file"] = c.File
		}
		deps = append(deps, d)
	}
	s.Predicate.BuildDefinition.ResolvedDependencies = deps
	data, err := json.MarshalIndent(s, "", "  ")
	return append(data, '\n'), err
}
