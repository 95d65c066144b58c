package actors

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"hybridagent/test/lab"
)

// PlanePort is where the plane listens on its host.
const PlanePort = "7443"

// Plane is a running hybrid-plane.
type Plane struct {
	// Process is the plane's program.
	Process *lab.Process
	// CAPin is what hosts pin, Context the file for hybridctl.
	CAPin, Context string
	// Data is the plane's data folder.
	Data string

	site *lab.Site
	bin  Binaries
}

// StartPlane starts the management plane on the site's plane host, with the data of an earlier start if there is any, and waits until it
// serves.
func StartPlane(ctx context.Context, site *lab.Site, bin Binaries) (*Plane, error) {
	host := site.Host("plane")
	p := &Plane{site: site, bin: bin, Data: filepath.Join(host.Folder, "data")}
	if err := p.Start(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

var readyLine = regexp.MustCompile(`(?m)^ready .*ca-pin=(sha256:[0-9a-f]{64}) context=(\S+)`)

// Start starts the plane again after a stop.
func (p *Plane) Start(ctx context.Context) error {
	host := p.site.Host("plane")
	log := filepath.Join(host.Folder, "hybrid-plane.log")
	before, _ := os.ReadFile(log)
	cmd := host.Command(context.Background(), p.bin.Plane, "serve", "--data", p.Data, "--listen", ":"+PlanePort,
		"--advertise", lab.PlaneAddress+":"+PlanePort)
	process, err := host.Start("hybrid-plane", cmd)
	if err != nil {
		return err
	}
	p.Process = process
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err = lab.Until(ctx, "the plane to serve", 10*time.Millisecond, func(context.Context) error {
		if err := process.Ended(); err != nil {
			return lab.Final(err)
		}
		data, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		match := readyLine.FindSubmatch(data[min(len(before), len(data)):])
		if match == nil {
			return fmt.Errorf("no ready line in %s", log)
		}
		p.CAPin, p.Context = string(match[1]), string(match[2])
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w; the end of its log:\n%s", err, process.Tail(10))
	}
	return nil
}

// CA is the certificate of the plane's CA, in PEM.
func (p *Plane) CA() ([]byte, error) { return os.ReadFile(filepath.Join(p.Data, "ca.pem")) }
