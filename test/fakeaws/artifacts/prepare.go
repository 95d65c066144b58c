// Package artifacts writes what a nodeadm install downloads in the lab: a manifest in the format of the real one, artifacts made
// from the stand-in binary, and their checksum files. It serves nothing.
package artifacts

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"hybridagent/test/fakenodeadm/lab"
)

// Plan says what to write.
type Plan struct {
	// Out is the folder that receives manifest.yaml and artifacts/.
	Out string
	// Binary is the stand-in's executable. Empty makes small shell scripts instead, as used when the recorded runs were made.
	Binary string
	// BaseURL is where artifacts/ will be served, without a slash at the end.
	BaseURL string
	// Versions are full Kubernetes versions; Region is the one with an ECR account in the manifest.
	Versions []string
	Region   string
}

// Prepare writes the folder. Files of an earlier run are replaced.
func Prepare(p Plan) error {
	if len(p.Versions) == 0 || p.Out == "" || p.BaseURL == "" {
		return fmt.Errorf("cannot prepare artifacts: output folder, base URL and at least one version are needed")
	}
	var binary []byte
	if p.Binary != "" {
		var err error
		if binary, err = os.ReadFile(p.Binary); err != nil {
			return fmt.Errorf("cannot read the stand-in's binary: %w", err)
		}
	}
	root := filepath.Join(p.Out, "artifacts")
	if err := put(root, "iam-ra/aws_signing_helper", orScript(binary, signingHelperScript)); err != nil {
		return err
	}
	if err := put(root, "ssm/ssm-setup-cli", orScript(binary, roleScript)); err != nil {
		return err
	}
	for _, version := range p.Versions {
		for name, data := range files(binary, version) {
			if err := put(root, version+"/"+name, data); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(p.Out, "manifest.yaml"), []byte(manifest(p)), 0o644)
}

func files(binary []byte, version string) map[string][]byte {
	if binary != nil { // each version's programs differ, as the real ones do, and kubelet reads its version back
		binary = append(append([]byte{}, binary...), lab.VersionTrailer+version+"\n"...)
	}
	return map[string][]byte{
		"kubelet":                 orScript(binary, fmt.Sprintf(kubeletScript, version, version, version)),
		"kubectl":                 []byte(fmt.Sprintf("#!/bin/sh\necho \"Client Version: v%s\"\n", version)),
		"cni-plugins.tgz":         tgz("loopback", "#!/bin/sh\n"),
		"ecr-credential-provider": orScript(binary, fmt.Sprintf("#!/bin/sh\n# ecr %s\nexit 1\n", version)),
		"aws-iam-authenticator":   orScript(binary, fmt.Sprintf(authenticatorScript, version)),
	}
}

const (
	kubeletScript = "#!/bin/sh\n# stand-in kubelet %s\ncase \"$1\" in --version) echo \"Kubernetes v%s\"; exit 0;; esac\n" +
		"echo \"stand-in kubelet v%s $*\"\nexec sleep infinity\n"
	authenticatorScript = "#!/bin/sh\n# authenticator %s\nprintf '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1beta1\"," +
		"\"spec\":{},\"status\":{\"token\":\"k8s-aws-v1.stub\"}}'\n"
	// roleScript plays the role of its name by the program that STANDIN_SELF names: a test's own.
	roleScript          = "#!/bin/sh\nSTANDIN_ROLE=${0##*/} exec \"$STANDIN_SELF\" \"$@\"\n"
	signingHelperScript = "#!/bin/sh\ncase \"$1\" in\ncredential-process) printf '{\"Version\":1,\"AccessKeyId\":\"ASIALAB\"," +
		"\"SecretAccessKey\":\"s\",\"SessionToken\":\"t\",\"Expiration\":\"2099-01-01T00:00:00Z\"}';;\n" +
		"update) printf '[default]\\naws_access_key_id=ASIALAB\\naws_secret_access_key=s\\naws_session_token=t\\n' >\"$AWS_SHARED_CREDENTIALS_FILE\"\n" +
		"  exec sleep infinity;;\nesac\n"
)

func orScript(binary []byte, script string) []byte {
	if binary != nil {
		return binary
	}
	return []byte(script)
}

// put writes the artifact and, beside it, its checksum in the form that nodeadm reads: sum, two spaces, name.
func put(root, name string, data []byte) error {
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("cannot write artifact %s: %w", name, err)
	}
	if err := os.WriteFile(path, data, 0o755); err != nil {
		return fmt.Errorf("cannot write artifact %s: %w", name, err)
	}
	sum := fmt.Sprintf("%x  %s\n", sha256.Sum256(data), filepath.Base(name))
	return os.WriteFile(path+".sha256", []byte(sum), 0o644)
}

func tgz(name, content string) []byte {
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	tw := tar.NewWriter(zw)
	tw.WriteHeader(&tar.Header{Name: "./" + name, Mode: 0o755, Size: int64(len(content))})
	tw.Write([]byte(content))
	tw.Close()
	zw.Close()
	return buf.Bytes()
}

// manifest is the manifest's text: releases by minor version, the signing helper, and the Region's ECR account.
func manifest(p Plan) string {
	var b strings.Builder
	artifact := func(name, path string) {
		fmt.Fprintf(&b, "      - name: %s\n        arch: %s\n        os: linux\n        uri: %s/%s\n        checksum_uri: %s/%s.sha256\n",
			name, runtime.GOARCH, p.BaseURL, path, p.BaseURL, path)
	}
	b.WriteString("supported_eks_releases:\n")
	for _, version := range p.Versions {
		minor, patch := version[:strings.LastIndex(version, ".")], version[strings.LastIndex(version, ".")+1:]
		fmt.Fprintf(&b, "- major_minor_version: %q\n  latest_patch_version: %q\n  patch_releases:\n", minor, patch)
		fmt.Fprintf(&b, "  - version: %q\n    patch_version: %q\n    release_date: \"2025-01-01\"\n    artifacts:\n", version, patch)
		for _, name := range []string{"kubelet", "kubectl", "cni-plugins", "ecr-credential-provider", "aws-iam-authenticator"} {
			artifact(name, version+"/"+fileOf(name))
		}
	}
	b.WriteString("iam_roles_anywhere_releases:\n- version: \"1.2.0\"\n  artifacts:\n")
	artifact("aws_signing_helper", "iam-ra/aws_signing_helper")
	fmt.Fprintf(&b, "ssm_releases: []\nregion_config:\n  %s:\n    ecr_account_id: \"602401143452\"\n    cred_providers:\n      iam-ra: true\n      ssm: true\n", p.Region)
	return b.String()
}

func fileOf(artifact string) string {
	if artifact == "cni-plugins" {
		return "cni-plugins.tgz"
	}
	return artifact
}
