package command

import "encoding/json"

// status prints one line of JSON as docs/src/host-v1.schema.json has it. The program warns on standard error meanwhile, which
// a reader of both must bear.
func (h *Host) status() error {
	if err := h.fault("status"); err != nil {
		return err
	}
	var d disk
	if err := h.read(deployed, &d); err != nil {
		return err
	}
	status := map[string]any{"staged": nil, "rollback": nil, "rollbackQueued": d.Booted != 0, "type": "bootcHost"}
	var next deployment
	if h.read(staged, &next) == nil {
		status["staged"] = next.entry()
	}
	for i, one := range d.List {
		switch i {
		case d.Booted:
			status["booted"] = one.entry()
		case 1 - d.Booted:
			status["rollback"] = one.entry()
		}
	}
	h.say("WARN (stand-in) this is no bootc")
	out, err := json.Marshal(map[string]any{
		"apiVersion": "org.containers.bootc/v1", "kind": "BootcHost", "metadata": map[string]any{"name": "host"},
		"spec":   map[string]any{"bootOrder": "default", "image": d.List[d.Booted].reference()},
		"status": status,
	})
	if err != nil {
		return err
	}
	h.say("%s", out)
	return nil
}

func (d deployment) reference() map[string]any {
	return map[string]any{"image": d.Ref, "transport": "registry"}
}

func (d deployment) entry() map[string]any {
	return map[string]any{
		"image":        map[string]any{"image": d.reference(), "imageDigest": d.Digest, "architecture": "amd64", "version": nil, "timestamp": nil},
		"incompatible": false, "pinned": false, "downloadOnly": false,
	}
}
