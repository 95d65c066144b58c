// Package osimage puts another operating system image onto an appliance: it
// stages it with the host's own tool, kairos-agent or bootc, boots it, and says
// which image came up. It owns no nodeadm and no Kubernetes: what is drained before
// and joined after is the business of who splices its steps.
package osimage
