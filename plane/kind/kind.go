// Package kind names the kinds of resources. It owns the words and nothing
// else, so that the operator's command line need not link the store.
package kind

// APIVersion of every resource.
const APIVersion = "hybrid.plane/v1"

// The kinds of resources.
const (
	Cluster = "HybridCluster"
	Profile = "HybridProfile"
	Pool    = "NodePool"
	Host    = "EdgeHost"
	Token   = "EnrollmentToken"
)

// All answers every kind, in the order in which one refers to the next.
func All() []string { return []string{Cluster, Profile, Pool, Host, Token} }
