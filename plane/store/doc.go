// Package store keeps what the plane knows: typed resources, and small records
// beside them, in an embedded etcd that listens nowhere. It owns the data
// directory, the key that secrets are encrypted with, transactions and watches.
// It does not own what the resources mean: validation is api's, compilation is
// compile's.
package store
