package nodeadm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxKubeletFaults is how many faults of a kubelet configuration are named.
const maxKubeletFaults = 8

// What apiVersion and kind of a kubelet configuration say, where they are given.
const (
	kubeletAPIVersion = "kubelet.config.k8s.io/v1beta1"
	kubeletKind       = "KubeletConfiguration"
)

// CheckKubeletConfig refuses what kubelet does not start with: it reads its
// configuration strictly, and only when it is started anew, while nodeadm hands it
// through unread. The error names each field. raw is a JSON object, or empty.
func CheckKubeletConfig(raw []byte) error {
	if len(raw) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var config map[string]any
	if err := decoder.Decode(&config); err != nil {
		return fmt.Errorf("cannot read the kubelet configuration: %w; correct it in the HybridProfile", err)
	}
	c := kubeletCheck{fields: kubeletFields()}
	c.members("", config)
	for name, want := range map[string]string{"apiVersion": kubeletAPIVersion, "kind": kubeletKind} {
		if got, ok := config[name].(string); ok && got != want {
			c.fault("%s is %q, not %s", name, got, want)
		}
	}
	if len(c.faults) == 0 {
		return nil
	}
	slices.Sort(c.faults)
	text := strings.Join(c.faults[:min(len(c.faults), maxKubeletFaults)], "; ")
	if more := len(c.faults) - maxKubeletFaults; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return errors.New("cannot use the kubelet configuration: " + text + "; correct it in the HybridProfile")
}

// kubeletCheck collects what is wrong.
type kubeletCheck struct {
	// fields are kinds by path, for example authentication.webhook.cacheTTL.
	fields map[string]string
	faults []string
}

func (c *kubeletCheck) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

// members checks the members of an object; prefix ends with a dot or is empty.
func (c *kubeletCheck) members(prefix string, object map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		kind, ok := c.fields[prefix+name]
		if !ok {
			c.fault("%s is no field of kubelet's configuration (as of Kubernetes 1.37)", shortened(prefix+name))
			continue
		}
		c.value(prefix+name, prefix+name, kind, object[name])
	}
}

// value checks one value: path is its field's, where is how a message names it.
// null leaves a field as it is.
func (c *kubeletCheck) value(path, where, kind string, value any) {
	if value == nil {
		return
	}
	switch element, list := strings.CutPrefix(kind, "[]"); {
	case list:
		if values, ok := value.([]any); ok {
			for i, one := range values {
				c.value(path, fmt.Sprintf("%s[%d]", where, i), element, one)
			}
			return
		}
	case strings.HasPrefix(kind, "map:"):
		if values, ok := value.(map[string]any); ok {
			for name, one := range values {
				c.value(path, where+"."+name, strings.TrimPrefix(kind, "map:"), one)
			}
			return
		}
	case kind == "object":
		if object, ok := value.(map[string]any); ok {
			c.members(path+".", object)
			return
		}
	case fits(kind, value):
		return
	}
	written, _ := json.Marshal(value)
	c.fault("%s is %s, not %s", shortened(where), shortened(string(written)), kubeletWords(kind))
}

// fits says whether a value is of a kind, as kubelet's decoder has it.
func fits(kind string, value any) bool {
	text, isText := value.(string)
	number, isNumber := value.(json.Number)
	var err error
	switch kind {
	case "bool":
		_, ok := value.(bool)
		return ok
	case "duration":
		_, err = time.ParseDuration(text)
		return isText && err == nil
	case "int32":
		_, err = strconv.ParseInt(number.String(), 10, 32)
		return isNumber && err == nil
	case "int64":
		_, err = strconv.ParseInt(number.String(), 10, 64)
		return isNumber && err == nil
	case "uint32":
		_, err = strconv.ParseUint(number.String(), 10, 32)
		return isNumber && err == nil
	case "number":
		return isNumber
	case "quantity":
		return isText || isNumber
	case "interval":
		return fits("duration", value) || fits("int64", value)
	}
	return isText
}

// kubeletWords is a kind for operators.
func kubeletWords(kind string) string {
	switch {
	case strings.HasPrefix(kind, "[]"):
		return "a list"
	case strings.HasPrefix(kind, "map:"), kind == "object":
		return "a mapping"
	}
	switch kind {
	case "bool":
		return "true or false"
	case "duration", "interval":
		return `a duration like "2m30s"`
	case "int32", "int64":
		return "a whole number of " + strings.TrimPrefix(kind, "int") + " bits"
	case "uint32":
		return "a whole number from 0 on"
	case "number":
		return "a number"
	case "quantity":
		return `a quantity like "100Mi"`
	}
	return "a text"
}

// shortened bounds what a message quotes.
func shortened(text string) string {
	const longest = 80
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "…"
}
