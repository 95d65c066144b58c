// Package config owns /etc/hybrid-agent/config.yaml: its shape, its defaults and
// its checks, for the daemon and for hybrid-agent-op. It carries no secret. It
// does not know what the settings are used for, and what the plane assigns is no
// part of it.
package config
