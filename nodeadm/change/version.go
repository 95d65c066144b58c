package change

import (
	"fmt"
	"regexp"
	"strconv"
)

// maxOlder is how many minor versions a kubelet may be older than the API server
// (kubernetes.io/releases/version-skew-policy, since 1.28).
const maxOlder = 3

// versionForm finds a version in 1.31.5, v1.31.5-eks-1234567 and
// "Kubernetes v1.31.5".
var versionForm = regexp.MustCompile(`(?:^|[ v])([0-9]{1,3})\.([0-9]{1,3})(?:\.([0-9]{1,3}))?(?:$|[^0-9.])`)

// version is a Kubernetes version.
type version struct{ major, minor, patch int }

// parseVersion reads a version in any of the forms that are met on a host.
func parseVersion(text string) (version, bool) {
	found := versionForm.FindStringSubmatch(text)
	if found == nil {
		return version{}, false
	}
	number := func(i int) int { n, _ := strconv.Atoi(found[i]); return n }
	return version{number(1), number(2), number(3)}, true
}

// String is the version as nodeadm takes it.
func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v.major, v.minor, v.patch) }

// minor returns major.minor.
func (v version) majorMinor() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

// checkSkew refuses a kubelet version that the API server does not take. nodeadm
// upgrade has no such check (only init has one, afterwards).
func checkSkew(wanted, api version) error {
	switch {
	case wanted.major != api.major, wanted.minor > api.minor:
		return refuse(Skew, "cannot bring the node to Kubernetes %s: kubelet must not be newer than the API server, which is %s; upgrade the EKS cluster first, or choose at most %s in the HybridProfile",
			wanted, api, api.majorMinor())
	case wanted.minor < api.minor-maxOlder:
		return refuse(Skew, "cannot bring the node to Kubernetes %s: kubelet must be at most %d minor versions older than the API server, which is %s; choose at least %d.%d in the HybridProfile",
			wanted, maxOlder, api, api.major, api.minor-maxOlder)
	}
	return nil
}

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)}
}
