// Package nodeadm is what the agent knows of the nodeadm binary of EKS Hybrid
// Nodes (github.com/aws/eks-hybrid, v1.0.20): its NodeConfig file, its command
// lines, its tracker file, its log lines, and what its exit codes are worth. It
// starts no process and writes no file: hybrid-agent-op does both with what this
// package returns.
//
// The NodeConfig types are mirrored here because the Go module proxy does not
// serve the upstream module.
package nodeadm
