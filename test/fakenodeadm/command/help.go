package command

// The texts of main, init and upgrade are those of the recorded runs; the others are this stand-in's own, shorter.

func helpFor(command string) (string, bool) {
	switch command {
	case "install":
		return installHelp, true
	case "init":
		return initHelp, true
	case "upgrade":
		return upgradeHelp, true
	case "uninstall":
		return uninstallHelp, true
	case "config":
		return configHelp, true
	}
	return "", false
}

const mainHelp = `nodeadm - Amazon EKS Hybrid Nodes CLI

http://github.com/aws/eks-hybrid

Usage:
  nodeadm [config|sync-artifacts|init|install|uninstall|upgrade|debug]

Subcommands:
  config           Manage configuration
  sync-artifacts   Sync EKS hybrid node dependencies directly to S3 for private installation
  init             Initialize this instance as a node in an EKS cluster
  install          Install components required to join an EKS cluster
  uninstall        Uninstall components installed using the install sub-command
  upgrade          Upgrade components installed using the install sub-command
  debug            Debug the node registration process

Flags:
     --version       Displays the program version string.
  -h --help          Displays help with available flag, subcommand, and positional value parameters.
  -d --development   Enable development mode for logging.

Documentation:
  https://docs.aws.amazon.com/eks/latest/userguide/hybrid-nodes-nodeadm.html
`

const initHelp = `init - Initialize this instance as a node in an EKS cluster

Flags:
     --version             Displays the program version string.
  -h --help                Displays help with available flag, subcommand, and positional value parameters.
  -c --config-source       Source of node configuration. The format is a URI with supported schemes: [file, imds].
  -d --daemon              Specify one or more of ` + "`" + `containerd` + "`" + ` and ` + "`" + `kubelet` + "`" + `. This is intended for testing and should not be used in a production environment.
  -s --skip                Phases of the bootstrap to skip. Allowed values: [install-validation, cni-validation, node-ip-validation, credentials-validation, kubelet-cert-validation, ssm-api-network-validation, iam-ra-api-network-validation, aws-auth-validation, k8s-endpoint-network-validation, k8s-authentication-validation, kubelet-version-skew-validation, api-server-endpoint-resolution-validation, proxy-validation, node-inactive-validation, preprocess, config, run].
  -m --manifest-override   URI to a manifest file containing custom artifact URLs. Supports file:// for local files and https:// for remote files.
     --private-mode        Enable private init mode (requires --manifest-override for region config).

Examples:
  # Initialize using configuration file
  nodeadm init --config-source file://nodeConfig.yaml

Documentation:
  https://docs.aws.amazon.com/eks/latest/userguide/hybrid-nodes-nodeadm.html#_init
`

const upgradeHelp = `upgrade - Upgrade components installed using the install sub-command

Usage:
  nodeadm upgrade [KUBERNETES_VERSION]

Positional Variables:
  KUBERNETES_VERSION   The major[.minor[.patch]] version of Kubernetes to install. (Required)

Flags:
     --version             Displays the program version string.
  -h --help                Displays help with available flag, subcommand, and positional value parameters.
  -c --config-source       Source of node configuration. The format is a URI with supported schemes: [file, imds].
  -s --skip                Phases of the upgrade to skip. Allowed values: [install-validation, cni-validation, node-ip-validation, credentials-validation, kubelet-cert-validation, ssm-api-network-validation, iam-ra-api-network-validation, aws-auth-validation, k8s-endpoint-network-validation, k8s-authentication-validation, kubelet-version-skew-validation, api-server-endpoint-resolution-validation, proxy-validation, node-inactive-validation, preprocess, config, run, init-validation, pod-validation, node-validation].
  -m --manifest-override   URI to a manifest file containing custom artifact URLs. Supports file:// for local files and https:// for remote files.
     --private-mode        Enable private upgrade mode (skips OS packages, requires --manifest-override).
  -t --timeout             Maximum upgrade command duration. Input follows duration format. Example: 1h23s (default: 20m0s)
  -d --development         Enable development mode for logging.

Examples:
  # Upgrade all components
  nodeadm upgrade 1.31 --config-source file:///root/nodeConfig.yaml

  # Upgrade all components with a custom timeout
  nodeadm upgrade 1.31 --config-source file:///root/nodeConfig.yaml --timeout 1h23s

Documentation:
  https://docs.aws.amazon.com/eks/latest/userguide/hybrid-nodes-nodeadm.html#_upgrade
`

const installHelp = `install - Install components required to join an EKS cluster

Usage:
  nodeadm install [KUBERNETES_VERSION]

Positional Variables:
  KUBERNETES_VERSION   The major[.minor[.patch]] version of Kubernetes to install. (Required)

Flags:
  -p --credential-provider   Credential process to install. Allowed values: [ssm, iam-ra].
  -s --containerd-source     Source for containerd artifact. Allowed values: [none, distro, docker].
  -r --region                AWS region for downloading regional artifacts.
  -m --manifest-override     URI to a manifest file containing custom artifact URLs.
     --private-mode          Skip OS packages (requires --manifest-override).
  -t --timeout               Maximum install command duration. (default: 20m0s)
`

const uninstallHelp = `uninstall - Uninstall components installed using the install sub-command

Flags:
  -s --skip    Phases of the uninstall to skip.
  -f --force   Force delete additional directories.
`

const configHelp = `config - Manage configuration

Usage:
  nodeadm config [check]
`
