// Package tools holds the small programs that nodeadm places or that the OS image brings: signing helper, authenticator, image
// credential provider, kubectl, containerd and iptables, as far as nodeadm and kubelet use them. None does the real work.
package tools

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func option(args []string, name string) string {
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, name+"="); ok {
			return v
		}
		if a == name && i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

// credentials are those of one AWS session.
type credentials struct {
	Version         int
	AccessKeyId     string
	SecretAccessKey string
	SessionToken    string
	Expiration      string
}

// SigningHelper is aws_signing_helper: credential-process prints credentials for the machine certificate, update keeps them in the
// shared credentials file. With AWS_ENDPOINT_URL set it asks Roles Anywhere there; without, it makes them up from the role's name.
func SigningHelper(args []string, getenv func(string) string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("usage: aws_signing_helper credential-process|update|version")
	}
	switch args[0] {
	case "version":
		fmt.Fprintln(out, "1.2.0-standin")
		return nil
	case "credential-process":
		creds, err := newSession(args, getenv)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(creds)
	case "update":
		return update(args, getenv)
	}
	return fmt.Errorf("this stand-in does not do aws_signing_helper %s", args[0])
}

func newSession(args []string, getenv func(string) string) (credentials, error) {
	pair, err := tls.LoadX509KeyPair(option(args, "--certificate"), option(args, "--private-key"))
	if err != nil {
		return credentials{}, fmt.Errorf("cannot read the machine certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return credentials{}, err
	}
	if time.Now().After(cert.NotAfter) {
		return credentials{}, errors.New("the machine certificate has expired")
	}
	creds := credentials{Version: 1, AccessKeyId: "ASIALABOFFLINE", SecretAccessKey: "s", SessionToken: "t",
		Expiration: time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}
	endpoint := getenv("AWS_ENDPOINT_URL")
	if endpoint == "" {
		return creds, nil
	}
	body, err := json.Marshal(map[string]string{
		"profileArn": option(args, "--profile-arn"), "roleArn": option(args, "--role-arn"),
		"trustAnchorArn": option(args, "--trust-anchor-arn"), "roleSessionName": option(args, "--role-session-name"),
	})
	if err != nil {
		return credentials{}, err
	}
	return ask(endpoint, pair.Certificate[0], body, creds)
}

func ask(endpoint string, cert, body []byte, creds credentials) (credentials, error) {
	req, err := http.NewRequest(http.MethodPost, strings.TrimSuffix(endpoint, "/")+"/sessions", bytes.NewReader(body))
	if err != nil {
		return creds, err
	}
	req.Header.Set("User-Agent", "aws_signing_helper/1.2.0-standin")
	req.Header.Set("X-Amz-X509", base64.StdEncoding.EncodeToString(cert))
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return creds, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return creds, err
	}
	var answer struct {
		CredentialSet []struct{ Credentials credentials }
	}
	if resp.StatusCode != http.StatusCreated || json.Unmarshal(raw, &answer) != nil || len(answer.CredentialSet) == 0 {
		return creds, fmt.Errorf("CreateSession answered %s: %s", resp.Status, raw)
	}
	got := answer.CredentialSet[0].Credentials
	got.Version = 1
	return got, nil
}

// update writes the credentials file every half hour until it is stopped.
func update(args []string, getenv func(string) string) error {
	path := getenv("AWS_SHARED_CREDENTIALS_FILE")
	if path == "" {
		path = filepath.Join(getenv("HOME"), ".aws/credentials")
	}
	for {
		creds, err := newSession(args, getenv)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		text := fmt.Sprintf("[default]\naws_access_key_id=%s\naws_secret_access_key=%s\naws_session_token=%s\n",
			creds.AccessKeyId, creds.SecretAccessKey, creds.SessionToken)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
		time.Sleep(30 * time.Minute)
	}
}

// Authenticator is `aws-iam-authenticator token`: it runs the credential process of the profile and prints an ExecCredential
// whose token holds an invented presigned URL with the session's name, which is the node's.
func Authenticator(args []string, environ []string, getenv func(string) string, out io.Writer) error {
	if len(args) == 0 || args[0] != "token" {
		return errors.New("usage: aws-iam-authenticator token --cluster-id NAME")
	}
	if id, err := ManagedInstanceID(getenv("STANDIN_ROOT")); err == nil {
		return printToken(args, "ASIALABSSM", id, out) // the SSM agent's credentials, whose session is the instance
	}
	config := getenv("AWS_CONFIG_FILE")
	if config == "" {
		return errors.New("AWS_CONFIG_FILE is not set")
	}
	process, err := credentialProcess(config)
	if err != nil {
		return err
	}
	cmd := exec.Command(process[0], process[1:]...)
	cmd.Env = environ
	raw, err := cmd.Output()
	var creds credentials
	if err == nil {
		err = json.Unmarshal(raw, &creds)
	}
	if err != nil {
		return fmt.Errorf("process provider error: error in credential_process: %w", err)
	}
	return printToken(args, creds.AccessKeyId, option(process, "--role-session-name"), out)
}

func printToken(args []string, key, session string, out io.Writer) error {
	q := url.Values{"Action": {"GetCallerIdentity"}, "X-Amz-Credential": {key}, "X-Lab-Session": {session}, "x-k8s-aws-id": {option(args, "--cluster-id")}}
	presigned := "https://sts." + option(args, "--region") + ".amazonaws.com/?" + q.Encode()
	return json.NewEncoder(out).Encode(map[string]any{
		"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1beta1", "spec": map[string]any{},
		"status": map[string]string{
			"expirationTimestamp": time.Now().Add(14 * time.Minute).UTC().Format(time.RFC3339),
			"token":               "k8s-aws-v1." + base64.RawURLEncoding.EncodeToString([]byte(presigned)),
		},
	})
}

// ClientCertificate prints an ExecCredential with this certificate and key, for an API server that knows no lab tokens.
func ClientCertificate(certPath, keyPath string, out io.Writer) error {
	cert, err := os.ReadFile(certPath)
	if err != nil {
		return fmt.Errorf("cannot read the lab's client certificate: %w", err)
	}
	key, err := os.ReadFile(keyPath)
	if err != nil {
		return fmt.Errorf("cannot read the lab's client key: %w", err)
	}
	return json.NewEncoder(out).Encode(map[string]any{
		"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1beta1", "spec": map[string]any{},
		"status": map[string]string{"clientCertificateData": string(cert), "clientKeyData": string(key)},
	})
}

func credentialProcess(config string) ([]string, error) {
	raw, err := os.ReadFile(config)
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(raw), "\n") {
		if v, ok := strings.CutPrefix(line, "credential_process = "); ok {
			return strings.Fields(v), nil
		}
	}
	return nil, fmt.Errorf("no credential_process in %s", config)
}
