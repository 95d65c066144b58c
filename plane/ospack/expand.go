package ospack

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// packName is the pack whose options placeholders name.
const packName = "edge-native-byoi"

// Names of what placeholders may refer to.
const (
	optionPrefix   = "spectro.pack." + packName + ".options."
	kubernetesName = "spectro.system.kubernetes.version"
)

// maxValue bounds a value with its placeholders put in, in bytes: values that
// refer to one another twice would grow without end.
const maxValue = 4 << 10

// maxNesting bounds placeholders within placeholders.
const maxNesting = 8

// variables puts values in for placeholders. Every option is looked at once.
type variables struct {
	options    map[string]source
	kubernetes string
	done       map[string]string
	path       []string // options whose value is being made, for cycles
	missing    map[string][]string
	problems   Problems
	name       *regexp.Regexp
}

func newVariables(options map[string]source, kubernetes string) *variables {
	return &variables{
		options: options, kubernetes: kubernetes, done: map[string]string{}, missing: map[string][]string{},
		name: regexp.MustCompile(`^spectro(\.[A-Za-z0-9_-]+)+$`),
	}
}

// option is an option's value; empty where there is none.
func (v *variables) option(name string) string {
	s, ok := v.options[name]
	if !ok {
		return ""
	}
	if text, ok := v.done[name]; ok {
		return text
	}
	v.path = append(v.path, name)
	text := v.expand(s)
	v.path = v.path[:len(v.path)-1]
	v.done[name] = text
	return text
}

// expand is a value with its placeholders put in. What cannot be is noted and
// leaves nothing behind.
func (v *variables) expand(s source) string {
	if s.list {
		v.problem(s, "is a list or a mapping and cannot be put into a value")
		return ""
	}
	text, rest := v.until(s, s.text, 0)
	if rest != "" {
		v.problem(s, `has "}}" without "{{" before it`)
	}
	if len(text) > maxValue {
		v.problem(s, "grows to %d bytes with its placeholders put in, more than %d", len(text), maxValue)
		return ""
	}
	return text
}

// until reads up to the "}}" that ends the placeholder it is in, or to the end.
// Placeholders within the name of a placeholder are put in first.
func (v *variables) until(s source, text string, nesting int) (done, rest string) {
	var out strings.Builder
	for {
		next := strings.IndexAny(text, "{}")
		if next < 0 || next+1 >= len(text) {
			out.WriteString(text)
			return out.String(), ""
		}
		out.WriteString(text[:next])
		switch text[next : next+2] {
		case "}}":
			return out.String(), text[next:]
		case "{{":
			if nesting >= maxNesting {
				v.problem(s, "nests placeholders deeper than %d", maxNesting)
				return "", ""
			}
			name, after := v.until(s, text[next+2:], nesting+1)
			if !strings.HasPrefix(after, "}}") {
				v.problem(s, `has "{{" without "}}" after it`)
				return "", ""
			}
			out.WriteString(v.lookup(s, name))
			text = after[2:]
		default:
			out.WriteByte(text[next])
			text = text[next+1:]
		}
		if out.Len() > 2*maxValue {
			return out.String(), ""
		}
	}
}

// lookup is the value of a placeholder's name.
func (v *variables) lookup(s source, name string) string {
	name = strings.TrimPrefix(strings.TrimSpace(name), ".")
	option, isOption := strings.CutPrefix(name, optionPrefix)
	switch {
	case !v.name.MatchString(name):
		v.problem(s, `has the placeholder "{{ %s }}", which is no plain name such as .%s; functions and pipes are not supported`, cut(name), kubernetesName)
		return ""
	case name == kubernetesName:
		return v.kubernetes
	case isOption && slices.Contains(v.path, option):
		v.problem(s, "refers to itself: %s", cycle(v.path, option))
		return ""
	}
	if _, ok := v.options[option]; isOption && ok {
		return v.option(option)
	}
	if use := at(s); !slices.Contains(v.missing[name], use) {
		v.missing[name] = append(v.missing[name], use)
	}
	return ""
}

func (v *variables) problem(s source, format string, args ...any) {
	v.problems = append(v.problems, Problem{Line: s.line, Field: s.path, Text: fmt.Sprintf(format, args...)})
}

// cycle shows how an option comes back to itself: a → b → a.
func cycle(path []string, back string) string {
	return strings.Join(append(slices.Clone(path[slices.Index(path, back):]), back), " → ")
}

// at says where a value stands.
func at(s source) string { return fmt.Sprintf("%s (line %d)", s.path, s.line) }

func cut(text string) string {
	const most = 80
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// report notes what could not be put in: first what is wrong with a value, then
// each name that stands for nothing, with every place of its use.
func (r *reader) report(v *variables) {
	for _, p := range v.problems {
		r.add(p.Line, p.Field, "%s", p.Text)
	}
	names := make([]string, 0, len(v.missing))
	for name := range v.missing {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		r.add(0, name, "is not defined but used in %s; %s", strings.Join(v.missing[name], ", "), v.advice(name))
	}
}

// advice says what to do about a name that stands for nothing.
func (v *variables) advice(name string) string {
	option, isOption := strings.CutPrefix(name, optionPrefix)
	if !isOption {
		return fmt.Sprintf("defined are %s and the options of pack %s", kubernetesName, packName)
	}
	known := make([]string, 0, len(v.options))
	for o := range v.options {
		known = append(known, o)
	}
	slices.Sort(known)
	if near := nearest(option, known); near != "" {
		return fmt.Sprintf("write %q below options, or did you mean %s?", option+": …", near)
	}
	return fmt.Sprintf("write %q below options", option+": …")
}

// values are all options; those whose placeholders stand for nothing, and that
// the image does not need, as they are written.
func (v *variables) values() map[string]any {
	out := make(map[string]any, len(v.options))
	for name, s := range v.options {
		switch {
		case s.list:
		case s.number != nil:
			out[name] = s.number
		default:
			before := len(v.problems) + len(v.missing)
			if text := v.option(name); len(v.problems)+len(v.missing) == before {
				out[name] = text
			} else {
				out[name] = s.text
			}
		}
	}
	return out
}
