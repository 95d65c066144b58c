package ospack

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"

	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// Bounds of a manifest, in bytes.
const (
	// maxManifest is what the profile's API allows.
	maxManifest = 64 << 10
	// maxImage is what NodeSpec.os_image carries.
	maxImage = 512
)

// Pack is what a manifest says.
type Pack struct {
	// Image is the operating system's image with its tag or digest, for example
	// registry.example/ubuntu:nodeadm-1.31.5-v1.2.3-shop. At most 512 bytes.
	Image string
	// Drain says how nodes are drained; what the manifest leaves out is not set and
	// has its default. nil: the manifest has no drain block.
	Drain *planev1.DrainSpec
	// Distribution is options' system.k8sDistribution, for example nodeadm; empty:
	// not given.
	Distribution string
	// OSName is options' system.osName, for example ubuntu; empty: not given.
	OSName string
	// OSVersion is options' system.osVersion as it is written, for example 22;
	// empty: not given.
	OSVersion string
	// Options are all options by their names without "options.": numbers stay
	// numbers (int64 or float64), text has its placeholders put in where they could
	// be; a list is left out.
	Options map[string]any
}

// Parse reads a manifest for a Kubernetes version such as 1.31.5, which the image
// must carry. The error is a Problems that holds everything that is wrong.
func Parse(manifest, kubernetes string) (*Pack, error) {
	r := &reader{anchors: map[string]ast.Node{}}
	root, ok := r.root(manifest)
	if !ok {
		return nil, r.problems
	}
	r.sections(root)
	v := newVariables(r.options, kubernetes)
	pack := &Pack{Drain: r.drain, Image: r.image(v)}
	pack.Distribution = v.option("system.k8sDistribution")
	pack.OSName = v.option("system.osName")
	pack.OSVersion = v.option("system.osVersion")
	r.report(v)
	if len(r.problems) == 0 {
		r.checkImage(pack, kubernetes)
	}
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	pack.Options = v.values()
	return pack, nil
}

// sections finds pack.content, pack.drain and options. Other keys are left alone:
// packs carry more than is of use here.
func (r *reader) sections(root ast.Node) {
	for _, p := range r.mapping(root, "the manifest") {
		switch p.key {
		case "pack":
			r.pack(p)
		case "options":
			r.readOptions(p.value, "options", "")
		default:
			r.misplaced(p, "", []string{"pack", "options"})
		}
	}
}

func (r *reader) pack(section pair) {
	for _, p := range r.mapping(section.value, "pack") {
		switch p.key {
		case "content":
			r.content(p)
		case "drain":
			r.readDrain(p)
		case "options":
			r.readOptions(p.value, "pack.options", "")
		default:
			r.misplaced(p, "pack.", []string{"content", "drain", "options"})
		}
	}
}

// misplaced tells a mistyped section from one of those that are left alone: what
// is mistyped would otherwise be left out without a word.
func (r *reader) misplaced(p pair, prefix string, known []string) {
	if near := nearest(p.key, known); near != "" {
		r.add(p.line, prefix+p.key, "is no section of an OS pack; did you mean %s?", prefix+near)
	}
}

// content reads pack.content: images, and charts, which are left alone.
func (r *reader) content(section pair) {
	for _, p := range r.mapping(section.value, "pack.content") {
		switch p.key {
		case "charts":
		case "images":
			r.images(p)
		default:
			r.add(p.line, "pack.content."+p.key, "is unknown; write images")
		}
	}
}

func (r *reader) images(section pair) {
	list, ok := r.resolve(section.value).(*ast.SequenceNode)
	if !ok {
		r.add(section.line, "pack.content.images", "must be a list with one \"- image: …\" line")
		return
	}
	for i, item := range list.Values {
		path := fmt.Sprintf("pack.content.images[%d]", i)
		found := false
		for _, p := range r.mapping(item, path) {
			if p.key != "image" {
				continue
			}
			found = true
			if text, ok := r.scalar(p, path+".image"); ok {
				r.sources = append(r.sources, source{path: path + ".image", line: p.line, text: text.text})
			}
		}
		if !found {
			r.add(lineOf(item), path, "has no image; write \"- image: '{{ .spectro.pack.%s.options.system.uri }}'\"", packName)
		}
	}
}

// image is the operating system's image. Where a pack lists more images than
// that one, it is the one that options call system.uri.
func (r *reader) image(v *variables) string {
	if len(r.sources) == 0 {
		if len(r.problems) == 0 {
			r.add(0, "pack.content.images", "names no image; paste the manifest that the image build printed")
		}
		return ""
	}
	if len(r.sources) == 1 {
		return strings.TrimSpace(v.expand(r.sources[0]))
	}
	uri := v.option("system.uri")
	for _, s := range r.sources {
		if image := v.expand(s); image == uri && image != "" {
			return strings.TrimSpace(image)
		}
	}
	r.add(r.sources[0].line, "pack.content.images", "names %d images, none of them options' system.uri; keep the operating system's image alone", len(r.sources))
	return ""
}
