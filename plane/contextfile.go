package plane

import (
	"errors"
	"fmt"
	"os"

	"hybridagent/plane/ca"
	"hybridagent/plane/operator"
)

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
	return operator.Context{
		Address: info.Address, CA: string(info.CAPEM), Certificate: string(cert), Key: string(key),
	}.Write(info.ContextFile)
}
