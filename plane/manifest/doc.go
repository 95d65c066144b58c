// Package manifest reads and writes resources as operators see them: YAML or
// JSON with the field names of the protocol in camelCase. Reading is strict and
// names file, line and column. It does not judge values beyond their type; the
// plane does.
package manifest
