// Package command plays bootc's status, switch and rollback, ostree admin undeploy, greenboot and the boot in a folder that
// stands for a host's root. Each behaviour cites where the real one has it; paths without a repository are those of
// bootc-dev/bootc. No image is fetched: what is in the settings counts as being in the registry.
package command
