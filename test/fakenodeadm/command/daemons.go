package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"

	"hybridagent/test/fakenodeadm/kubelet"
)

func (i *initRun) configureContainerd(context.Context) error {
	if err := i.write("/etc/modules-load.d/containerd.conf", modulesText, 0o644, 0o755); err != nil {
		return err
	}
	const path, dropIn = "/etc/containerd/config.toml", "/etc/containerd/config.d/00-nodeadm.toml"
	i.log.info("containerd/config.go:44", "Writing containerd config to file...", "path", path)
	if err := i.write(path, fmt.Sprintf(containerdConfig, i.sandboxImage), 0o644, 0o644); err != nil {
		return err
	}
	if user := i.cfg.Spec.Containerd.Config; user != "" {
		i.log.info("containerd/config.go:56", "Writing user containerd config to drop-in file...", "path", dropIn)
		return i.write(dropIn, user, 0o644, 0o644)
	}
	return nil // a drop-in that NodeConfig no longer names stays and is still imported
}

const kubeletDir = "/etc/kubernetes/kubelet"

func (i *initRun) configureKubelet(ctx context.Context) error {
	if err := i.writeKubeletConfig(ctx); err != nil {
		return err
	}
	c := i.cfg.Spec.Cluster
	for _, f := range []struct {
		path, content string
		dirMode       os.FileMode
	}{
		{kubelet.CAPath, string(c.CertificateAuthority), 0o644},
		{kubelet.KubeconfigPath, fmt.Sprintf(kubeconfigText, c.APIServerEndpoint, i.cfg.awsConfigPath(), c.Name, c.Region), 0o644},
		{"/etc/eks/image-credential-provider/config.json", fmt.Sprintf(imageCredentialConfig, i.cfg.awsConfigPath()), 0o755},
		{kubeletEnvironment, i.environment(), 0o644},
	} {
		if err := i.write(f.path, f.content, 0o644, f.dirMode); err != nil {
			return err
		}
	}
	if len(i.skips) == 0 || i.skip("k8s-authentication-validation") {
		return nil // the real program runs this check only where some --skip is given
	}
	return i.validation(ctx, check{
		name: "kubernetes-authenticated-request", message: "Validating authenticated request to Kubernetes API endpoint",
		run: i.authenticatedRequest, remediation: "Ensure the node's role has access to the cluster.",
	})
}

func (i *initRun) writeKubeletConfig(ctx context.Context) error {
	version, err := i.kubeletVersion(ctx)
	if err != nil {
		return err
	}
	i.log.info("kubelet/config.go:347", "Detected kubelet version", "version", version)
	dns, err := clusterDNS(i.cfg.Spec.Cluster.CIDR)
	if err != nil {
		return err
	}
	resolv := ""
	if i.osID() == "ubuntu" {
		resolv = "    \"resolvConf\": \"/run/systemd/resolve/resolv.conf\",\n"
	}
	provider := fmt.Sprintf("eks-hybrid:///%s/%s/%s", i.cfg.Spec.Cluster.Region, i.cfg.Spec.Cluster.Name, i.cfg.nodeName)
	i.log.info("kubelet/config.go:436", "Writing kubelet config to file...", "path", kubeletDir+"/config.json")
	text := fmt.Sprintf(kubeletConfigText, dns, reservedCPU(runtime.NumCPU()), reservedMemory(memoryGiB()), provider, resolv)
	if err := i.write(kubeletDir+"/config.json", text, 0o644, 0o644); err != nil {
		return err
	}
	i.log.info("kubelet/config.go:445", "Enabling kubelet config drop-in dir...")
	dropIn := kubeletDir + "/config.json.d/00-nodeadm.conf"
	i.log.info("kubelet/config.go:457", "Writing user kubelet config to drop-in file...", "path", dropIn)
	user := map[string]any{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
	for k, v := range i.cfg.Spec.Kubelet.Config {
		user[k] = v
	}
	raw, err := json.MarshalIndent(user, "", "    ")
	if err != nil {
		return err
	}
	return i.write(dropIn, string(raw), 0o644, 0o644)
}

// environment is the unit's EnvironmentFile: nodeadm's flags (sorted here, in any order with the real one), then the user's.
func (i *initRun) environment() string {
	flags := map[string]string{
		"cloud-provider": "", "config": kubeletDir + "/config.json", "config-dir": kubeletDir + "/config.json.d",
		"hostname-override":                 i.cfg.nodeName,
		"image-credential-provider-bin-dir": "/etc/eks/image-credential-provider",
		"image-credential-provider-config":  "/etc/eks/image-credential-provider/config.json",
		"kubeconfig":                        kubelet.KubeconfigPath,
		"node-labels":                       "eks.amazonaws.com/compute-type=hybrid,eks.amazonaws.com/hybrid-credential-provider=" + i.cfg.providerName(),
	}
	var words []string
	for name, value := range flags {
		words = append(words, "--"+name+"="+value)
	}
	sort.Strings(words)
	words = append(words, i.cfg.Spec.Kubelet.Flags...)
	return fmt.Sprintf("KUBELET_CONFIG_DROPIN_DIR_ALPHA=\"on\"\nNODEADM_KUBELET_ARGS=\"%s\"", strings.Join(words, " "))
}

// kubeletVersion runs the installed kubelet and takes the word after "Kubernetes".
func (r *run) kubeletVersion(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, r.path(kubelet.BinPath), "--version")
	cmd.Env = r.Env
	out, err := cmd.Output()
	if err != nil {
		return "", err
	}
	f := strings.Fields(string(out))
	if len(f) < 2 {
		return "", errors.New("cannot read the version that kubelet prints: " + string(out))
	}
	return f[1], nil
}

// clusterDNS is the tenth address of the service network.
func clusterDNS(cidr string) (string, error) {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return "", err
	}
	addr := p.Masked().Addr()
	for range 10 {
		addr = addr.Next()
	}
	return addr.String(), nil
}

// reservedCPU: 6 % of the first core, 1 % of the second, 0.5 % of the next two, 0.25 % of the rest.
func reservedCPU(cores int) string {
	milli := 0.0
	for n := range cores {
		switch {
		case n == 0:
			milli += 60
		case n == 1:
			milli += 10
		case n < 4:
			milli += 5
		default:
			milli += 2.5
		}
	}
	return fmt.Sprintf("%dm", int(milli))
}

// reservedMemory: 255 MiB below 1 GiB, else a quarter of the first 4 GiB, a fifth of the next 4, a tenth of the next 8, and so on.
func reservedMemory(gib float64) string {
	if gib < 1 {
		return "255Mi"
	}
	rest, sum := gib, 0.0
	for _, step := range []struct{ upTo, share float64 }{{4, 0.25}, {4, 0.2}, {8, 0.1}, {112, 0.06}, {math.Inf(1), 0.02}} {
		part := math.Min(rest, step.upTo)
		sum += part * step.share
		rest -= part
	}
	return fmt.Sprintf("%dGi", int(math.Round(sum)))
}

func memoryGiB() float64 {
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(raw))
	if len(f) < 2 {
		return 0
	}
	kib, _ := strconv.Atoi(f[1])
	return math.Floor(float64(kib) / (1 << 20))
}

// authenticatedRequest asks for one object with the node's own kubeconfig.
func (i *initRun) authenticatedRequest(ctx context.Context) error {
	client, err := kubelet.NewClient(i.Root, i.path(kubelet.KubeconfigPath), i.Env, userAgent)
	if err != nil {
		return err
	}
	// A real plugin and a real handshake run here: lab time must not make the limit shorter than they need.
	timed, cancel := context.WithTimeout(ctx, max(i.Settings.Scale(time.Minute), 10*time.Second))
	defer cancel()
	resp, err := client.Do(timed, http.MethodGet, "/api/v1/namespaces/default/endpoints/kubernetes", "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the Kubernetes API answered %s", resp.Status)
	}
	return nil
}
