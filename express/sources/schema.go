package sources

import (
	"encoding/json"
	"strings"

	"modwsgi/express/config"
	"modwsgi/express/option"
	"modwsgi/internal/settingsfile"
)

// schema is a JSON schema, draft 7, which editors support for TOML.
type schema = map[string]any

// secret is the schema of a reference to a secret.
var secret = schema{
	"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": false,
	"description": "A secret: the contents of a file, or a credential that systemd passes to the service.",
	"properties":  schema{keyFile: schema{"type": "string", "minLength": 1}, keyCredential: schema{"type": "string", "minLength": 1}},
}

// Schema returns the JSON schema of a file that has the options at the top, made from
// their table.
func Schema(all *option.Table) ([]byte, error) {
	properties := schema{Application: schema{
		"type": "string", "minLength": 1, "description": "The application to serve, as the argument of the command line.",
	}}
	for _, o := range all.Options() {
		if o.Hidden || o.Gone != "" || o == config.Help.Row() || o == config.Config.Row() {
			continue
		}
		properties[o.Name] = property(o)
	}
	text, err := json.MarshalIndent(schema{
		"$schema": "http://json-schema.org/draft-07/schema#", "title": "mod_wsgi-express",
		"description": "Options of mod_wsgi-express: " + OwnFile + ", or " + settingsfile.Section(toolName) + " in " + ProjectFile + ".",
		"type":        "object", "additionalProperties": false, "properties": properties,
		"definitions": schema{"secret": secret},
	}, "", "  ")
	return append(text, '\n'), err
}

// property returns the schema of an option's values.
func property(o *option.Option) schema {
	s := values(o)
	s["description"] = o.Help
	if d := o.Default; d != "" && !strings.HasPrefix(d, "none") {
		switch o.Kind {
		case option.KindNumber, option.KindFraction:
			s["default"] = json.Number(d)
		case option.KindText:
			s["default"] = d
		}
	}
	return s
}

func values(o *option.Option) schema {
	word := schema{"type": "string"}
	if !o.Blank() {
		word["minLength"] = 1
	}
	if o.Words != nil {
		word = schema{"type": "string", "enum": o.Words}
	}
	text := word
	if option.Same(o, config.Setenv) {
		text = schema{"anyOf": []any{word, schema{"$ref": "#/definitions/secret"}}}
	}
	switch {
	case o.Kind == option.KindFlag:
		return schema{"type": "boolean"}
	case o.Kind == option.KindNumber:
		return schema{"type": "integer", "minimum": 0}
	case o.Kind == option.KindFraction:
		return schema{"type": "number"}
	case o.Values == 2:
		return schema{"anyOf": []any{
			schema{"type": "object", "additionalProperties": text},
			schema{"type": "array", "items": schema{"type": "array", "minItems": 2, "maxItems": 2, "items": []any{schema{"type": "string"}, text}}},
		}}
	case o.Repeatable:
		return schema{"anyOf": []any{word, schema{"type": "array", "items": text}}}
	}
	return text
}
