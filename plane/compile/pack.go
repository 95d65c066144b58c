package compile

import (
	"fmt"

	"hybridagent/plane/ospack"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// osImage is the image of an appliance; nil in agent mode.
func osImage(p *planev1.HybridProfileSpec) (*agentv1.OSImage, error) {
	if p.GetOs().GetMode() != planev1.OSMode_OS_MODE_APPLIANCE {
		return nil, nil
	}
	pack, err := ospack.Parse(p.GetOs().GetManifest(), p.GetKubernetes().GetVersion())
	if err != nil {
		return nil, fmt.Errorf("cannot read the OS pack's manifest of profile version %s: %w; apply a version with a manifest that can be read", p.GetVersion(), err)
	}
	return &agentv1.OSImage{Uri: pack.Image}, nil
}

// drainSpec is the profile's own, else that of an appliance's manifest.
func drainSpec(p *planev1.HybridProfileSpec) *planev1.DrainSpec {
	o := p.GetOs()
	if o.GetDrain() != nil || o.GetMode() != planev1.OSMode_OS_MODE_APPLIANCE {
		return o.GetDrain()
	}
	pack, err := ospack.Parse(o.GetManifest(), p.GetKubernetes().GetVersion())
	if err != nil {
		return nil // told by osImage
	}
	return pack.Drain
}
