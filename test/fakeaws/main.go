// Command fakeaws is the lab's stand-in for the AWS services and the Kubernetes API of an EKS cluster. It refuses to run
// outside a lab; everything it serves is invented. `fakeaws prepare` writes the artifacts that a nodeadm install downloads.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"hybridagent/test/fakeaws/artifacts"
	"hybridagent/test/fakeaws/server"
	"hybridagent/test/fakenodeadm/lab"
)

func main() {
	args := os.Args[1:]
	run := serve
	if len(args) > 0 && args[0] == "prepare" {
		run, args = prepare, args[1:]
	} else if len(args) > 0 && args[0] == "serve" {
		args = args[1:]
	}
	code, err := run(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fakeaws (stand-in):", err)
	}
	os.Exit(code)
}

func serve(args []string) (int, error) {
	fs := flag.NewFlagSet("fakeaws", flag.ExitOnError)
	var opt server.Options
	fs.StringVar(&opt.KubeListen, "kube-listen", "127.0.0.1:6443", "host:port of the Kubernetes API (TLS)")
	fs.StringVar(&opt.AWSListen, "aws-listen", "127.0.0.1:9000", "host:port of the AWS services, the artifacts and /lab/")
	fs.StringVar(&opt.Endpoint, "endpoint", "", "API server URL that DescribeCluster names (default: where it listens)")
	fs.StringVar(&opt.ArtifactDir, "artifacts", "", "folder served below /artifacts/")
	fs.StringVar(&opt.PKIDir, "pki", "", "folder that keeps the cluster CA between starts (default: memory)")
	fs.StringVar(&opt.Cluster, "cluster", "lab", "cluster name")
	fs.StringVar(&opt.Region, "region", "us-west-2", "Region")
	fs.StringVar(&opt.Version, "cluster-version", "1.31", "Kubernetes version, major.minor")
	fs.StringVar(&opt.ServiceCIDR, "service-cidr", "172.20.0.0/16", "the cluster's service network")
	fs.DurationVar(&opt.Grace, "grace", 5*time.Second, "how long a Node stays Ready without a heartbeat from its own address")
	nodes := fs.String("remote-node-networks", "10.200.0.0/16", "comma-separated CIDRs")
	pods := fs.String("remote-pod-networks", "192.168.128.0/17", "comma-separated CIDRs")
	roles := fs.String("access-roles", "", "comma-separated role ARNs with an access entry")
	endpointCA := fs.String("endpoint-ca", "", "PEM file with the CA that DescribeCluster names (default: its own), for a real API server at -endpoint")
	writeCA := fs.String("write-ca", "", "file that receives the cluster CA's certificate")
	fs.Parse(args)
	if err := lab.Guard(lab.Dir); err != nil {
		return lab.ExitNotALab, err
	}
	opt.RemoteNodeCIDRs, opt.RemotePodCIDRs, opt.AccessRoles = split(*nodes), split(*pods), split(*roles)
	if *endpointCA != "" {
		var err error
		if opt.EndpointCA, err = os.ReadFile(*endpointCA); err != nil {
			return 1, err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	s, err := server.New(opt)
	if err != nil {
		return 1, err
	}
	defer s.Close()
	if *writeCA != "" {
		if err := os.WriteFile(*writeCA, s.CA(), 0o644); err != nil {
			return 1, err
		}
	}
	fmt.Printf("fakeaws (stand-in) ready: kubernetes %s, aws %s, cluster %s %s\n", s.Endpoint(), s.AWSURL(), opt.Cluster, opt.Version)
	<-ctx.Done()
	return 0, nil
}

func prepare(args []string) (int, error) {
	fs := flag.NewFlagSet("fakeaws prepare", flag.ExitOnError)
	plan := artifacts.Plan{}
	fs.StringVar(&plan.Out, "out", "", "folder that receives manifest.yaml and artifacts/")
	fs.StringVar(&plan.Binary, "binary", "", "the fakenodeadm binary")
	fs.StringVar(&plan.BaseURL, "base-url", "http://10.100.0.20/artifacts", "where artifacts/ will be served")
	fs.StringVar(&plan.Region, "region", "us-west-2", "Region with an ECR account in the manifest")
	versions := fs.String("versions", "1.30.4,1.31.5", "comma-separated Kubernetes versions")
	hostRoot := fs.String("host-root", "", "also write nodeadm, containerd and iptables stand-ins below this folder")
	fs.Parse(args)
	plan.Versions = split(*versions)
	if plan.Binary == "" {
		return 2, fmt.Errorf("-binary is needed: the fakenodeadm binary that the artifacts are made from")
	}
	if err := artifacts.Prepare(plan); err != nil {
		return 1, err
	}
	if *hostRoot != "" {
		if err := artifacts.HostRoot(*hostRoot, plan.Binary); err != nil {
			return 1, err
		}
	}
	return 0, nil
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}
