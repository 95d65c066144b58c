package plane

import (
	"errors"
	"fmt"
	"os"

	yaml "github.com/goccy/go-yaml"
	"github.com/google/renameio/v2"

	"hybridagent/plane/ca"
)

// OperatorContext is the file that an operator's command line reads.
type OperatorContext struct {
	// Address of the plane, host:port.
	Address string `yaml:"address"`
	// CA certificate of the plane, PEM.
	CA string `yaml:"ca"`
	// Certificate of the operator, PEM.
	Certificate string `yaml:"certificate"`
	// Key of the operator, PEM; secret.
	Key string `yaml:"key"`
}

// firstOperator is the name in the certificate of the context file.
const firstOperator = "admin"

// writeContext makes the first operator's context file where there is none; one
// that exists is the operator's own.
func writeContext(info Info, authority *ca.Authority) error {
	if _, err := os.Stat(info.ContextFile); err == nil {
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot look for %s: %w", info.ContextFile, err)
	}
	cert, key, err := authority.IssueOperator(firstOperator)
	if err != nil {
		return err
	}
	b, err := yaml.MarshalWithOptions(OperatorContext{
		Address: info.Address, CA: string(info.CAPEM), Certificate: string(cert), Key: string(key),
	}, yaml.UseLiteralStyleIfMultiline(true))
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", info.ContextFile, err)
	}
	if err := renameio.WriteFile(info.ContextFile, b, 0o600, renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("cannot write %s: %w", info.ContextFile, err)
	}
	return nil
}
