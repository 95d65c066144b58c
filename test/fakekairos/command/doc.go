// Package command plays kairos-agent's upgrade of the active image, GRUB's boot assessment and the boot itself in a folder
// that stands for a host's root. Each behaviour cites where the real one has it; kairos-agent means the repository
// kairos-io/kairos-agent at v2.2x, 08_grub.yaml and grub.cfg those of kairos-io/packages. Nothing is mounted, and no image is
// fetched: what is in the settings counts as being in the registry.
package command
