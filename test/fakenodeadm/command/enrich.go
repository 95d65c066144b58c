package command

import (
	"context"
	"encoding/json"
	"fmt"
)

// enrich adds the sandbox image and the cluster's details. A NodeConfig that names endpoint, CA and service CIDR makes no call.
func (i *initRun) enrich(ctx context.Context, manifestURI string) error {
	i.log.info("hybrid/configenricher.go:19", "Enriching configuration...")
	account, region := "602401143452", i.cfg.Spec.Cluster.Region
	if manifestURI != "" {
		m, err := i.readManifest(manifestURI)
		if err != nil {
			return err
		}
		rc, ok := m.Regions[region]
		if !ok {
			return fmt.Errorf("region %s is not in the manifest's region_config", region)
		}
		account = rc.ECRAccount
		i.log.info("ecr/ecr.go:125", "Using ECR account from manifest", "region", region, "ecrAccount", account)
	}
	i.sandboxImage = fmt.Sprintf("%s.dkr.ecr.%s.amazonaws.com/eks/pause:3.5", account, region)
	i.log.info("hybrid/configenricher.go:33", "Default options populated", "defaults", map[string]string{"sandboxImage": i.sandboxImage})
	if err := i.phase(ctx, "describe-cluster"); err != nil {
		return err
	}
	c := &i.cfg.Spec.Cluster
	if c.APIServerEndpoint == "" || len(c.CertificateAuthority) == 0 || c.CIDR == "" {
		if err := i.describe(ctx); err != nil {
			return err
		}
	}
	i.log.info("hybrid/configenricher.go:40", "Cluster details populated", "cluster", c)
	return nil
}

func (i *initRun) describe(ctx context.Context) error {
	raw, err := i.aws.get(ctx, "EKS", "DescribeCluster", "/clusters/"+i.cfg.Spec.Cluster.Name)
	if err != nil {
		return err
	}
	var out struct {
		Cluster struct {
			Endpoint, Version       string
			CertificateAuthority    struct{ Data []byte }
			KubernetesNetworkConfig struct{ ServiceIpv4Cidr string }
			RemoteNetworkConfig     struct{ RemoteNodeNetworks []struct{ Cidrs []string } }
		}
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return fmt.Errorf("cannot read the answer to DescribeCluster: %w", err)
	}
	c := &i.cfg.Spec.Cluster
	c.APIServerEndpoint, c.CertificateAuthority = out.Cluster.Endpoint, out.Cluster.CertificateAuthority.Data
	c.CIDR = out.Cluster.KubernetesNetworkConfig.ServiceIpv4Cidr
	for _, n := range out.Cluster.RemoteNetworkConfig.RemoteNodeNetworks {
		i.remote = append(i.remote, n.Cidrs...)
	}
	i.described, i.clusterMinor = true, out.Cluster.Version
	return nil
}
