package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// raw is the file as written: pointers tell an absent key from an empty one.
type raw struct {
	Plane struct {
		Address string `yaml:"address"`
		CAPin   string `yaml:"caPin"`
	} `yaml:"plane"`
	Enrollment struct {
		TokenFile *string `yaml:"tokenFile"`
	} `yaml:"enrollment"`
	Host struct {
		Name           string          `yaml:"name"`
		Prefix         *string         `yaml:"prefix"`
		DeviceUIDPaths []DeviceUIDPath `yaml:"deviceUIDPaths"`
	} `yaml:"host"`
	Metrics struct {
		Listen *string `yaml:"listen"`
	} `yaml:"metrics"`
	Log struct {
		Level *string `yaml:"level"`
	} `yaml:"log"`
	Network rawNetwork `yaml:"network"`
	Nodeadm struct {
		Path        *string           `yaml:"path"`
		Manifest    string            `yaml:"manifest"`
		Environment map[string]string `yaml:"environment"`
	} `yaml:"nodeadm"`
	Paths struct {
		State    *string `yaml:"state"`
		OpState  *string `yaml:"opState"`
		Socket   *string `yaml:"socket"`
		OpSocket *string `yaml:"opSocket"`
		Root     *string `yaml:"root"`
	} `yaml:"paths"`
}

type rawNetwork struct {
	ResyncInterval *string `yaml:"resyncInterval"`
	RouteMetric    *uint32 `yaml:"routeMetric"`
	OnLink         *bool   `yaml:"onLink"`
	PathMTU        *string `yaml:"pathMTU"`
	TrialTimeout   *string `yaml:"trialTimeout"`
}

// Parse is Load from a reader; name stands for the file in errors.
func Parse(name string, r io.Reader) (Config, error) {
	content, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return Config{}, fmt.Errorf("cannot read %s: %w", name, err)
	}
	if len(content) > MaxBytes {
		return Config{}, fmt.Errorf("cannot read %s: larger than %d bytes", name, MaxBytes)
	}
	var in raw
	dec := yaml.NewDecoder(bytes.NewReader(content), yaml.Strict())
	if err := dec.Decode(&in); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, atLine(name, err)
	}
	if err := dec.Decode(new(raw)); !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("%s: holds more than one YAML document; keep one", name)
	}
	out := complete(in)
	if errs := check(out, in); len(errs) > 0 {
		return Config{}, locate(name, content, errs)
	}
	return out, nil
}

// atLine puts file and line before the message of a YAML error.
func atLine(name string, err error) error {
	var yerr yaml.Error
	if errors.As(err, &yerr) && yerr.GetToken() != nil {
		at := yerr.GetToken().Position
		return fmt.Errorf("%s:%d:%d: %s", name, at.Line, at.Column, yerr.GetMessage())
	}
	return fmt.Errorf("%s: %w", name, err)
}

// locate turns field errors into one error with a line each.
func locate(name string, content []byte, errs []fieldError) error {
	tree, parseErr := parser.ParseBytes(content, 0)
	all := make([]error, 0, len(errs))
	for _, fe := range errs {
		where := name
		if parseErr == nil {
			where += lineOf(tree, fe.key)
		}
		all = append(all, fmt.Errorf("%s: %s: %s", where, fe.key, fe.reason))
	}
	return errors.Join(all...)
}

// lineOf returns ":line:column" of a key's value; empty if the key is not there.
func lineOf(tree *ast.File, key string) string {
	path, err := yaml.PathString("$." + key)
	if err != nil {
		return ""
	}
	node, err := path.FilterFile(tree)
	if err != nil || node == nil || node.GetToken() == nil {
		return ""
	}
	at := node.GetToken().Position
	return fmt.Sprintf(":%d:%d", at.Line, at.Column)
}
