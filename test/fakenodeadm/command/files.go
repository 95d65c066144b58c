package command

import "fmt"

// The files below have the content that the recorded runs left, with the run's own values put in.

const kubeletEnvironment = "/etc/eks/kubelet/environment"

const sysctlText = `vm.overcommit_memory=1
kernel.panic=10
kernel.panic_on_oops=1
net.ipv4.ip_forward=1`

const modulesText = `overlay
br_netfilter`

const kubeletUnit = `[Unit]
Description=Kubernetes Kubelet
Documentation=https://github.com/kubernetes/kubernetes
After=containerd.service
Requires=containerd.service

[Service]
Slice=runtime.slice
EnvironmentFile=/etc/eks/kubelet/environment
ExecStartPre=/sbin/iptables -P FORWARD ACCEPT -w 5
ExecStart=/usr/bin/kubelet \
    --config /etc/kubernetes/kubelet/config.json \
    --kubeconfig /var/lib/kubelet/kubeconfig \
    --container-runtime-endpoint unix:///run/containerd/containerd.sock \
    $NODEADM_KUBELET_ARGS\
    $KUBELET_EXTRA_ARGS

Restart=on-failure
RestartForceExitStatus=SIGPIPE
RestartSec=5
KillMode=process
CPUAccounting=true
MemoryAccounting=true

[Install]
WantedBy=multi-user.target
`

const containerdConfig = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
# Users can use the following import directory to add additional
# configuration to containerd. The imports do not behave exactly like overrides.
# see: https://github.com/containerd/containerd/blob/main/docs/man/containerd-config.toml.5.md#format
imports = ["/etc/containerd/config.d/*.toml"]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins]
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    discard_unpacked_layers = true
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "%s"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d:/etc/docker/certs.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
`

const imageCredentialConfig = `{
  "kind": "CredentialProviderConfig",
  "apiVersion": "kubelet.config.k8s.io/v1",
  "providers": [
    {
      "name": "ecr-credential-provider",
      "matchImages": [
        "*.dkr.ecr.*.amazonaws.com",
        "*.dkr.ecr.*.amazonaws.com.cn",
        "*.dkr.ecr-fips.*.amazonaws.com",
        "*.dkr.ecr.*.c2s.ic.gov",
        "*.dkr.ecr.*.sc2s.sgov.gov"
      ],
      "defaultCacheDuration": "12h0m0s",
      "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
      "env": [
        {
          "name": "AWS_CONFIG_FILE",
          "value": "%s"
        },
        {
          "name": "AWS_PROFILE",
          "value": "default"
        },
        {
          "name": "AWS_SHARED_CREDENTIALS_FILE",
          "value": "/eks-hybrid/.aws/credentials"
        }
      ]
    }
  ]
}`

const kubeconfigText = `---
apiVersion: v1
kind: Config
clusters:
  - name: kubernetes
    cluster:
      certificate-authority: /etc/kubernetes/pki/ca.crt
      server: %s
current-context: kubelet
contexts:
  - name: kubelet
    context:
      cluster: kubernetes
      user: kubelet
users:
  - name: kubelet
    user:
      exec:
        apiVersion: client.authentication.k8s.io/v1beta1
        command: "/usr/local/bin/aws-iam-authenticator"
        env:
          - name: "AWS_PROFILE"
            value: "default"
          - name: "AWS_CONFIG_FILE"
            value: %q
        args:
          - "token"
          - "--cluster-id"
          - %q
          - "--region"
          - %q
`

const awsConfigText = `[profile default]
region = %[7]s
credential_process = /usr/local/bin/aws_signing_helper credential-process --certificate %[1]s --private-key %[2]s --trust-anchor-arn %[3]s --profile-arn %[4]s --role-arn %[5]s --role-session-name %[6]s

# hybrid profile is maintained for backwards compatibility, nodeadm no longer uses it
[profile hybrid]
region = %[7]s
credential_process = /usr/local/bin/aws_signing_helper credential-process --certificate %[1]s --private-key %[2]s --trust-anchor-arn %[3]s --profile-arn %[4]s --role-arn %[5]s --role-session-name %[6]s
`

const signingHelperUnitText = `[Unit]
Description=Service that runs aws_signing_helper update to keep the AWS credentials refreshed in /eks-hybrid/.aws/credentials.

[Service]
User=root
Environment=AWS_SHARED_CREDENTIALS_FILE=/eks-hybrid/.aws/credentials
ExecStart=/usr/local/bin/aws_signing_helper update \
        --certificate %[1]s \
        --private-key %[2]s \
        --trust-anchor-arn %[3]s \
        --profile-arn %[4]s \
        --role-arn %[5]s \
        --role-session-name %[6]s \
        --region %[7]s
StandardOutput=journal
StandardError=journal
Restart=always
RestartSec=10
CPUAccounting=true
MemoryAccounting=true

[Install]
WantedBy=multi-user.target
`

// kubeletConfigText takes cluster DNS, reserved CPU and memory, provider ID and, on Ubuntu, a resolvConf line.
const kubeletConfigText = `{
    "address": "0.0.0.0",
    "authentication": {
        "x509": {
            "clientCAFile": "/etc/kubernetes/pki/ca.crt"
        },
        "webhook": {
            "enabled": true,
            "cacheTTL": "2m0s"
        },
        "anonymous": {
            "enabled": false
        }
    },
    "authorization": {
        "mode": "Webhook",
        "webhook": {
            "cacheAuthorizedTTL": "5m0s",
            "cacheUnauthorizedTTL": "30s"
        }
    },
    "cgroupDriver": "systemd",
    "cgroupRoot": "/",
    "clusterDNS": [
        "%[1]s"
    ],
    "clusterDomain": "cluster.local",
    "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
    "evictionHard": {
        "memory.available": "100Mi",
        "nodefs.available": "10%%",
        "nodefs.inodesFree": "5%%"
    },
    "featureGates": {
        "RotateKubeletServerCertificate": true
    },
    "hairpinMode": "hairpin-veth",
    "kubeReserved": {
        "cpu": "%[2]s",
        "ephemeral-storage": "1Gi",
        "memory": "%[3]s"
    },
    "kubeReservedCgroup": "/runtime",
    "logging": {
        "verbosity": 2
    },
    "protectKernelDefaults": true,
    "providerID": "%[4]s",
    "readOnlyPort": 0,
    "serializeImagePulls": false,
    "serverTLSBootstrap": true,
    "systemReservedCgroup": "/system",
    "tlsCipherSuites": [
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
        "TLS_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_RSA_WITH_AES_256_GCM_SHA384"
    ],
%[5]s    "kind": "KubeletConfiguration",
    "apiVersion": "kubelet.config.k8s.io/v1beta1"
}`

func (c *nodeConfig) fill(text string) string {
	ra := c.Spec.Hybrid.RolesAnywhere
	return fmt.Sprintf(text, ra.CertificatePath, ra.PrivateKeyPath, ra.TrustAnchorArn, ra.ProfileArn, ra.RoleArn, ra.NodeName, c.Spec.Cluster.Region)
}

func awsConfig(c *nodeConfig) string { return c.fill(awsConfigText) }

func signingHelperUnit(c *nodeConfig) string { return c.fill(signingHelperUnitText) }

// helperArgs is the command line of the profile's credential process.
func helperArgs(c *nodeConfig) []string {
	ra := c.Spec.Hybrid.RolesAnywhere
	return []string{
		"credential-process", "--certificate", ra.CertificatePath, "--private-key", ra.PrivateKeyPath, "--trust-anchor-arn", ra.TrustAnchorArn,
		"--profile-arn", ra.ProfileArn, "--role-arn", ra.RoleArn, "--role-session-name", ra.NodeName,
	}
}
