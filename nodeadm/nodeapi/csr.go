package nodeapi

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// servingSigner signs certificates for kubelet's own server, which logs, exec and
// metrics of pods need (Kubernetes documentation, "Certificate Signing Requests").
const servingSigner = "kubernetes.io/kubelet-serving"

// CSRState says where a certificate request stands.
type CSRState string

// The states.
const (
	// CSRNone: there is no request. kubelet asks for none, or asked long ago:
	// requests are removed an hour after they were decided, a day after they were
	// made (k8s.io/kubernetes, pkg/controller/certificates/cleaner).
	CSRNone CSRState = "none"
	// CSRPending: nobody has decided, or the signer has not signed yet.
	CSRPending CSRState = "pending"
	// CSRDenied: an approver denied it.
	CSRDenied CSRState = "denied"
	// CSRFailed: it was approved, but the signer refused it.
	CSRFailed CSRState = "failed"
	// CSRIssued: the certificate is there.
	CSRIssued CSRState = "issued"
)

// CSR is the newest request for the certificate of this node's kubelet.
type CSR struct {
	// Name of the request; empty where there is none.
	Name string
	// State says where it stands.
	State CSRState
	// Cause says why it is not issued, with the next action; empty where it is, or
	// where there is none.
	Cause string
	// Since is when it came into its state, by the server's clock; zero where there
	// is none.
	Since time.Time
	// Names are the DNS names and addresses that were asked for.
	Names []string
}

// csrObject is the part of a CertificateSigningRequest that is of use here.
type csrObject struct {
	Metadata struct {
		Name              string    `json:"name"`
		CreationTimestamp time.Time `json:"creationTimestamp"`
	} `json:"metadata"`
	Spec struct {
		Request  []byte `json:"request"`
		Signer   string `json:"signerName"`
		Username string `json:"username"`
	} `json:"spec"`
	Status struct {
		Certificate []byte      `json:"certificate"`
		Conditions  []condition `json:"conditions"`
	} `json:"status"`
}

// ServingCSR finds the newest request for the certificate of the node's kubelet.
// Errors: ErrUnreachable, *StatusError.
func (c *Client) ServingCSR(ctx context.Context, node string) (CSR, error) {
	user := "system:node:" + node
	query := url.Values{"fieldSelector": {"spec.signerName=" + servingSigner}}
	var newest *csrObject
	err := c.pages(ctx, "/apis/certificates.k8s.io/v1/certificatesigningrequests", query, func(item json.RawMessage) error {
		var object csrObject
		if err := json.Unmarshal(item, &object); err != nil {
			return fmt.Errorf("cannot parse a certificate request: %w", err)
		}
		ours := object.Spec.Username == user && object.Spec.Signer == servingSigner
		if ours && (newest == nil || object.Metadata.CreationTimestamp.After(newest.Metadata.CreationTimestamp)) {
			newest = &object
		}
		return nil
	})
	if err != nil {
		return CSR{}, fmt.Errorf("cannot read the certificate requests of Node %s: %w", node, err)
	}
	if newest == nil {
		return CSR{State: CSRNone}, nil
	}
	return judgeCSR(newest, node), nil
}

// judgeCSR reads where a request stands off its conditions.
func judgeCSR(object *csrObject, node string) CSR {
	csr := CSR{Name: object.Metadata.Name, State: CSRPending, Since: object.Metadata.CreationTimestamp, Names: requested(object.Spec.Request)}
	said := map[string]condition{}
	for _, c := range object.Status.Conditions {
		said[c.Type] = c
	}
	denied, isDenied := said["Denied"]
	failed, isFailed := said["Failed"]
	approved, isApproved := said["Approved"]
	names := strings.Join(csr.Names, ", ")
	switch {
	case isDenied:
		csr.State, csr.Since = CSRDenied, later(csr.Since, denied)
		csr.Cause = fmt.Sprintf("an approver denied request %s for %s%s; correct what it names, then restart kubelet so that it asks again", csr.Name, names, because(denied))
	case isFailed:
		csr.State, csr.Since = CSRFailed, later(csr.Since, failed)
		csr.Cause = fmt.Sprintf("the signer refused request %s for %s%s; correct what it names, then restart kubelet so that it asks again", csr.Name, names, because(failed))
	case len(object.Status.Certificate) > 0:
		csr.State, csr.Since = CSRIssued, later(csr.Since, approved)
	case isApproved:
		csr.Since = later(csr.Since, approved)
		csr.Cause = fmt.Sprintf("request %s for %s is approved, but the cluster's signer has not signed it; check the cluster's controller manager", csr.Name, names)
	default:
		csr.Cause = fmt.Sprintf("nobody has approved request %s for %s; check that Node %s has these addresses and that the cluster's approver runs, or: kubectl certificate approve %s", csr.Name, names, node, csr.Name)
	}
	return csr
}

// because is what an approver or signer said.
func because(c condition) string {
	said := strings.TrimPrefix(strings.TrimSuffix(c.Reason+": "+c.Message, ": "), ": ")
	if said == "" {
		return " without a reason"
	}
	return ": " + said
}

// later is when a condition began; older servers do not say.
func later(since time.Time, c condition) time.Time {
	if c.LastTransitionTime.After(since) {
		return c.LastTransitionTime
	}
	return since
}

// requested lists the names in a request; one that cannot be read has none.
func requested(request []byte) []string {
	block, _ := pem.Decode(request)
	if block == nil {
		return nil
	}
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil
	}
	names := parsed.DNSNames
	for _, address := range parsed.IPAddresses {
		names = append(names, address.String())
	}
	return names
}
