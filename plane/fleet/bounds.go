package fleet

import (
	"unicode/utf8"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Bounds of what hosts report, as the fields of agent.proto, condition.proto and
// operation.proto state them.
const (
	maxNICs         = 64
	maxConditions   = 32
	maxMACs         = 32
	maxRefusals     = 32
	maxLogLines     = 10
	maxAddresses    = 32
	maxReasons      = 16
	maxAltnames     = 16
	maxRoutes       = 64
	maxRepaveFields = 32
	maxVPNServers   = 8

	maxFingerprint = 128
	maxGoodbye     = 256
	maxVersion     = 64
	maxDigest      = 64
	maxKubernetes  = 32
	maxRunner      = 32
	maxHostname    = 253
	maxOS          = 256
	maxKernel      = 128
	maxNIC         = 127
	maxMAC         = 64
	maxKind        = 32
	maxLine        = 256
	maxIPv4        = 15
	maxField       = 128
	maxReason      = 1024
	maxType        = 64
	maxCondition   = 1024
	maxStep        = 64
	maxLogLine     = 512
	maxProgress    = 4 << 10
	maxPercent     = 100

	maxForecastSteps   = 32
	maxForecastReasons = 16
	maxForecastPath    = 32
	maxForecastWhat    = 256
	maxForecastReason  = 512
	maxRemarks         = 16
)

const ellipsis = "…"

// clipped cuts a text to at most n bytes, at the end of a character: half of one
// cannot be encoded again.
func clipped(text string, n int) string {
	if len(text) <= n {
		return text
	}
	end := n - len(ellipsis)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + ellipsis
}

func clip(text *string, n int) { *text = clipped(*text, n) }

// clipList keeps the first of a list, each cut.
func clipList(list *[]string, most, each int) {
	if len(*list) > most {
		*list = append([]string(nil), (*list)[:most]...)
	}
	for i := range *list {
		clip(&(*list)[i], each)
	}
}

// A text that is too long is cut, since a host that says too much is better seen
// than not; a number of things that no host has is refused.

func boundInventory(inv *agentv1.Inventory) error {
	if n := len(inv.GetNics()); n > maxNICs {
		return tooMany("NICs", n, maxNICs)
	}
	clip(&inv.Hostname, maxHostname)
	clip(&inv.Os, maxOS)
	clip(&inv.Kernel, maxKernel)
	for _, nic := range inv.GetNics() {
		clip(&nic.Name, maxNIC)
		clip(&nic.Mac, maxMAC)
		clip(&nic.Kind, maxKind)
		clipList(&nic.Addresses, maxAddresses, maxMAC)
		clipList(&nic.Reasons, maxReasons, maxLine)
		clipList(&nic.Altnames, maxAltnames, maxNIC)
	}
	return nil
}

func boundStatus(s *agentv1.HostStatus) error {
	if n := len(s.GetConditions()); n > maxConditions {
		return tooMany("conditions", n, maxConditions)
	}
	for _, c := range s.GetConditions() {
		clip(&c.Type, maxType)
		clip(&c.Reason, maxType)
		clip(&c.Message, maxCondition)
	}
	clip(&s.Nic, maxNIC)
	clip(&s.NodeIp, maxIPv4)
	clip(&s.AppliedNodeDigest, maxDigest)
	clip(&s.AppliedKubernetesVersion, maxKubernetes)
	clip(&s.Runner, maxRunner)
	clipList(&s.Routes, maxRoutes, maxLine)
	clipList(&s.RepaveFields, maxRepaveFields, maxField)
	clip(&s.VpnServer, maxIPv4)
	clipList(&s.VpnServers, maxVPNServers, maxIPv4)
	clip(&s.WantedNodeIp, maxIPv4)
	clipList(&s.Remarks, maxRemarks, maxForecastReason)
	boundForecast(s.GetForecast())
	return nil
}

func boundResult(r *agentv1.AssignmentResult) {
	clip(&r.Digest, maxDigest)
	if len(r.GetRefusals()) > maxRefusals {
		r.Refusals = append([]*agentv1.FieldRefusal(nil), r.GetRefusals()[:maxRefusals]...)
	}
	for _, f := range r.GetRefusals() {
		clip(&f.Field, maxField)
		clip(&f.Reason, maxReason)
	}
}

func boundProgress(p *agentv1.OperationProgress) {
	clip(&p.OperationId, maxStep)
	clip(&p.Step, maxStep)
	clip(&p.Message, maxProgress)
	clip(&p.NodeDigest, maxDigest)
	if n := len(p.GetLogLines()); n > maxLogLines {
		p.LogLines = p.GetLogLines()[n-maxLogLines:] // the last ones say why
	}
	clipList(&p.LogLines, maxLogLines, maxLogLine)
	p.Percent = min(p.GetPercent(), maxPercent)
	boundForecast(p.GetForecast())
}

func boundForecast(f *agentv1.Forecast) {
	if f == nil {
		return
	}
	clip(&f.Path, maxForecastPath)
	clipList(&f.Reasons, maxForecastReasons, maxForecastReason)
	clip(&f.Refusal, maxReason)
	clip(&f.NodeDigest, maxDigest)
	if len(f.GetSteps()) > maxForecastSteps {
		f.Steps = append([]*agentv1.ForecastStep(nil), f.GetSteps()[:maxForecastSteps]...)
	}
	for _, s := range f.GetSteps() {
		clip(&s.Name, maxStep)
		clip(&s.What, maxForecastWhat)
	}
}

// checkFingerprint refuses: cut, two machines could look the same.
func checkFingerprint(fp *agentv1.HardwareFingerprint) error {
	if n := len(fp.GetMacs()); n > maxMACs {
		return tooMany("MAC addresses", n, maxMACs)
	}
	for _, text := range append([]string{fp.GetProductUuid(), fp.GetMachineIdHash()}, fp.GetMacs()...) {
		if len(text) > maxFingerprint {
			return tooLong("a field of the fingerprint", len(text), maxFingerprint)
		}
	}
	return nil
}
