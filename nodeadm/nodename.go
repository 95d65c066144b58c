package nodeadm

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
)

// kubeletEnvironmentPath holds kubelet's arguments, written by init.
const kubeletEnvironmentPath = "/etc/eks/kubelet/environment"

// overrideForm finds the node's name among the arguments: nodeadm always sets
// --hostname-override, to the mi-… instance ID with Systems Manager.
var overrideForm = regexp.MustCompile(`--hostname-override=([a-z0-9][a-z0-9.-]*)`)

// ReadNodeName returns the name that nodeadm init gave to kubelet. With Systems
// Manager it is known only after init.
func ReadNodeName(root string) (string, error) {
	file, err := os.Open(filepath.Join(root, kubeletEnvironmentPath))
	if err != nil {
		return "", fmt.Errorf("cannot read the node's name: %w", err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, 64<<10))
	if err != nil {
		return "", fmt.Errorf("cannot read the node's name: %w", err)
	}
	found := overrideForm.FindSubmatch(content)
	if found == nil {
		return "", fmt.Errorf("cannot read the node's name: %s holds no --hostname-override", kubeletEnvironmentPath)
	}
	return string(found[1]), nil
}
