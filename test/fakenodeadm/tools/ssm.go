package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Where Systems Manager's parts are.
const (
	SSMSetupPath        = "/opt/ssm/ssm-setup-cli"
	SSMAgentPath        = "/usr/bin/amazon-ssm-agent"
	SSMUnitPath         = "/etc/systemd/system/amazon-ssm-agent.service" // the package's is below /lib/systemd/system
	SSMRegistrationPath = "/var/lib/amazon/ssm/registration"
	ssmCredentials      = "/root/.aws/credentials"
)

const ssmUnitText = `[Unit]
Description=amazon-ssm-agent (stand-in of the lab)

[Service]
ExecStart=/usr/bin/amazon-ssm-agent
KillMode=process
Restart=on-failure
RestartSec=15min

[Install]
WantedBy=multi-user.target
`

// registration is the agent's file about itself.
type registration struct {
	ManagedInstanceID string
	Region            string
}

func readRegistration(root string) (registration, error) {
	var reg registration
	raw, err := os.ReadFile(filepath.Join(root, SSMRegistrationPath))
	if err != nil {
		return reg, err
	}
	return reg, json.Unmarshal(raw, &reg)
}

// ManagedInstanceID is the mi- ID of the registration below root.
func ManagedInstanceID(root string) (string, error) {
	reg, err := readRegistration(root)
	return reg.ManagedInstanceID, err
}

// SSMRegion is the registration's Region; empty where there is none.
func SSMRegion(root string) string {
	reg, _ := readRegistration(root)
	return reg.Region
}

// SSMSetup is `ssm-setup-cli -install …`: it places the agent, which is another role of this program, and its unit below root.
func SSMSetup(root string, args []string, out io.Writer) error {
	if len(args) == 0 || args[0] != "-install" {
		return errors.New("usage: ssm-setup-cli -install -region REGION -version VERSION")
	}
	raw, err := os.ReadFile(filepath.Join(root, SSMSetupPath))
	if err != nil {
		return err
	}
	agent := filepath.Join(root, SSMAgentPath)
	os.Remove(agent)
	for _, f := range []struct {
		path string
		data []byte
		mode os.FileMode
	}{{agent, raw, 0o755}, {filepath.Join(root, SSMUnitPath), []byte(ssmUnitText), 0o644}} {
		if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(f.path, f.data, f.mode); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "amazon-ssm-agent (stand-in) installed")
	return nil
}

// SSMAgent is amazon-ssm-agent: with -register it registers the machine and ends, without it keeps the credentials file until it is
// told to stop.
func SSMAgent(ctx context.Context, root string, args []string, getenv func(string) string, out io.Writer) error {
	if len(args) > 0 && args[0] == "-register" {
		return ssmRegister(ctx, root, args, getenv, out)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	for wait := time.Second; ; wait = min(2*wait, 30*time.Minute) { // its own back-off: after an outage it may sleep half an hour
		err := ssmRefresh(ctx, root, getenv)
		if err == nil {
			wait = 30 * time.Minute
		} else {
			fmt.Fprintf(out, "cannot refresh credentials, next try in %s: %v\n", wait, err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

func ssmRegister(ctx context.Context, root string, args []string, getenv func(string) string, out io.Writer) error {
	var answer struct{ InstanceId string }
	err := ssmCall(ctx, getenv, "RegisterManagedInstance", map[string]string{
		"ActivationId": option(args, "-id"), "ActivationCode": option(args, "-code"),
	}, &answer)
	if err != nil {
		return fmt.Errorf("registration failed due to error registering the instance with AWS SSM. %w", err)
	}
	raw, err := json.Marshal(registration{answer.InstanceId, option(args, "-region")})
	if err != nil {
		return err
	}
	path := filepath.Join(root, SSMRegistrationPath)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	fmt.Fprintf(out, "Successfully registered the instance with AWS SSM using Managed instance-id: %s\n", answer.InstanceId)
	return os.WriteFile(path, raw, 0o600)
}

// ssmRefresh writes credentials for the registered instance: from SSM where AWS_ENDPOINT_URL names the lab's, else made up.
func ssmRefresh(ctx context.Context, root string, getenv func(string) string) error {
	id, err := ManagedInstanceID(root)
	if err != nil {
		return err
	}
	creds := credentials{AccessKeyId: "ASIALABOFFLINE", SecretAccessKey: "s", SessionToken: "t"}
	if getenv("AWS_ENDPOINT_URL") != "" {
		if err := ssmCall(ctx, getenv, "RequestManagedInstanceRoleToken", map[string]string{"InstanceId": id}, &creds); err != nil {
			return err
		}
	}
	path := filepath.Join(root, ssmCredentials)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	text := fmt.Sprintf("[default]\naws_access_key_id=%s\naws_secret_access_key=%s\naws_session_token=%s\n",
		creds.AccessKeyId, creds.SecretAccessKey, creds.SessionToken)
	return os.WriteFile(path, []byte(text), 0o600)
}

// ssmCall asks the lab's SSM once. Errors are in the words of the agent's SDK.
func ssmCall(ctx context.Context, getenv func(string) string, operation string, in, out any) error {
	endpoint := strings.TrimSuffix(getenv("AWS_ENDPOINT_URL"), "/")
	if endpoint == "" {
		return errors.New("RequestError: send request failed: AWS_ENDPOINT_URL is not set, and the stand-in asks the lab's SSM only")
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "amazon-ssm-agent/3.0-standin")
	req.Header.Set("X-Amz-Target", "AmazonSSM."+operation)
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("RequestError: send request failed\ncaused by: %w", err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var e struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			return fmt.Errorf("SSM answered %s: %w", resp.Status, err)
		}
		return fmt.Errorf("%s: %s\n\tstatus code: %d, request id: ", e.Type, e.Message, resp.StatusCode)
	}
	return json.Unmarshal(raw, out)
}
