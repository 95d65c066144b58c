// Package auth decides who may call what: operators the PlaneService, hosts the
// AgentService, anybody the EnrollmentService, whose token is checked there. It
// knows identities only from certificates that TLS has verified against the
// plane's CA.
package auth
