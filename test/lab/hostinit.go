package lab

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// hostSpec is what the first process of an edge host needs to know. Its paths are the machine's.
type hostSpec struct {
	Hostname    string            `json:"hostname"`
	Site        string            `json:"site"`
	Memory      string            `json:"memory"`
	MachineID   string            `json:"machineID"`
	ProductUUID string            `json:"productUUID"`
	Files       map[string]string `json:"files"`
	Users       []User            `json:"users"`
}

// runHostInit is the first process of an edge host: it builds the host's files, then only collects orphans until it is killed.
func runHostInit() error {
	var spec hostSpec
	if err := readSpec(&spec); err != nil {
		return err
	}
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
		return fmt.Errorf("cannot set the host name: %w", err)
	}
	if err := buildRoot(spec); err != nil {
		return err
	}
	ready := os.NewFile(readyFD, "ready")
	if _, err := ready.Write([]byte("true\n")); err != nil {
		return err
	}
	if err := ready.Close(); err != nil {
		return err
	}
	for range children {
		reapOrphans()
	}
	return nil
}

// MachineID is the content of /etc/machine-id on edge host number n: 32 hexadecimal digits, the same for the same site and number.
func MachineID(site string, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "machine-id %s %d", site, n))
	return fmt.Sprintf("%x", sum[:16])
}

// ProductUUID is the SMBIOS product UUID of edge host number n.
func ProductUUID(site string, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "product-uuid %s %d", site, n))
	sum[6], sum[8] = sum[6]&0x0f|0x40, sum[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
