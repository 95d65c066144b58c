// Package kube runs a real Kubernetes control plane for tests: etcd and
// kube-apiserver, built once from their modules and kept in the user's cache
// folder, with certificates of its own and nodes' identities whose credentials
// come from a program, as on EKS. The tests that need it carry the build tag kube
// and are run by make test-kube; README.md says what is real here and what is not.
package kube
