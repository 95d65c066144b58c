// Package hostid owns the host ID: deriving it from the configured name, from
// device files, the machine ID or chance, and its file on disk with a hardware
// fingerprint. hybrid-agent-op derives and writes it, since the SMBIOS UUID is
// readable by root only; the daemon reads the file. Comparing fingerprints is
// the plane's.
package hostid
