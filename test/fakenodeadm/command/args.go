package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// options are the flags of all commands together.
type options struct {
	provider, containerdSource, region, manifest, configSource string
	skips                                                      []string
	privateMode, force, help, version                          bool
	timeout                                                    time.Duration
	positional                                                 []string
}

// valueFlags take the word after them (or after =); boolFlags take none. Short and long names share one field.
func (o *options) value(name string) func(string) error {
	text := func(p *string) func(string) error { return func(v string) error { *p = v; return nil } }
	switch name {
	case "p", "credential-provider":
		return text(&o.provider)
	case "s", "skip", "containerd-source":
		return func(v string) error {
			o.containerdSource = v
			o.skips = append(o.skips, strings.Split(v, ",")...)
			return nil
		}
	case "r", "region":
		return text(&o.region)
	case "m", "manifest-override":
		return text(&o.manifest)
	case "c", "config-source":
		return text(&o.configSource)
	case "t", "timeout":
		return func(v string) (err error) { o.timeout, err = time.ParseDuration(v); return err }
	}
	return nil
}

func (o *options) boolean(name string) *bool {
	switch name {
	case "private-mode":
		return &o.privateMode
	case "f", "force":
		return &o.force
	case "h", "help":
		return &o.help
	case "version":
		return &o.version
	case "d", "development", "no-color":
		return new(bool)
	}
	return nil
}

func parse(args []string) (options, error) {
	o := options{timeout: 20 * time.Minute}
	for i := 0; i < len(args); i++ {
		if !strings.HasPrefix(args[i], "-") {
			o.positional = append(o.positional, args[i])
			continue
		}
		name, inline, hasInline := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if b := o.boolean(name); b != nil {
			*b = true
			continue
		}
		set := o.value(name)
		if !hasInline {
			if i++; i >= len(args) {
				return o, usageError{mainHelp, fmt.Sprintf("Expected a following arg for flag %s, but it did not exist.", name)}
			}
			inline = args[i]
		}
		if set == nil {
			return o, usageError{mainHelp, "Unknown arguments supplied: " + strings.Join(args[i:], " ")}
		}
		if err := set(inline); err != nil {
			return o, usageError{mainHelp, err.Error()}
		}
	}
	return o, nil
}

// dispatch finds the command and runs it.
func (r *run) dispatch(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.version {
		fmt.Fprintf(r.Stdout, "Version: %s\n", Version)
		return nil
	}
	if len(o.positional) == 0 {
		if o.help {
			io.WriteString(r.Stderr, mainHelp)
			return nil
		}
		return usageError{mainHelp, "No command specified"}
	}
	r.command = o.positional[0]
	o.positional = o.positional[1:]
	if len(o.positional) > 0 {
		r.version = o.positional[0]
	}
	if help, ok := helpFor(r.command); ok && o.help {
		io.WriteString(r.Stderr, help)
		return nil
	}
	if err := r.needsRoot(); err != nil {
		return err
	}
	if err := r.phase(ctx, "start"); err != nil {
		return err
	}
	return r.perform(ctx, o)
}

func (r *run) perform(ctx context.Context, o options) error {
	switch r.command {
	case "install":
		return r.install(ctx, o)
	case "init":
		return r.init(ctx, o)
	case "config":
		if len(o.positional) == 1 && o.positional[0] == "check" {
			return r.configCheck(ctx, o)
		}
		return usageError{configHelp, "No command specified"}
	case "upgrade":
		return r.upgrade(ctx, o)
	case "uninstall":
		return r.uninstall(ctx, o)
	case "debug":
		return r.debug(ctx, o)
	case "sync-artifacts":
		return fmt.Errorf("this stand-in does not do %q: use install", r.command)
	}
	fmt.Fprintln(r.Stdout, "Available subcommands: config sync-artifacts init install uninstall upgrade debug")
	return usageError{"", "nodeadm: No subcommand or positional value found at position 1."}
}

func (r *run) needsRoot() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("must run as root")
	}
	return nil
}
