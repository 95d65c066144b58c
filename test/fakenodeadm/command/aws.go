package command

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// awsClient asks the AWS services that init needs, with the error texts of the AWS SDK.
type awsClient struct {
	*run
	region string
	// process is the command of the profile's credential process; empty: the shared credentials file that the SSM agent keeps.
	process   []string
	accessKey string
}

// clientFor has the credentials of the configured provider.
func (r *run) clientFor(cfg *nodeConfig) *awsClient {
	a := &awsClient{run: r, region: cfg.Spec.Cluster.Region}
	if cfg.Spec.Hybrid.RolesAnywhere != nil {
		a.process = append([]string{r.path(signingHelperPath)}, helperArgs(cfg)...)
	}
	return a
}

// endpoint honours AWS_ENDPOINT_URL_<SERVICE> and AWS_ENDPOINT_URL.
func (a *awsClient) endpoint(service string) string {
	for _, name := range []string{"AWS_ENDPOINT_URL_" + strings.ToUpper(service), "AWS_ENDPOINT_URL"} {
		if v := a.getenv(name); v != "" {
			return strings.TrimSuffix(v, "/")
		}
	}
	host := map[string]string{"ECR": "api.ecr"}[service]
	if host == "" {
		host = strings.ToLower(service)
	}
	return fmt.Sprintf("https://%s.%s.amazonaws.com", host, a.region)
}

// credentials runs the credential process of the profile once: the signing helper that install placed.
func (a *awsClient) credentials(ctx context.Context) error {
	if a.accessKey != "" {
		return nil
	}
	if len(a.process) == 0 {
		return a.sharedCredentials()
	}
	cmd := exec.CommandContext(ctx, a.process[0], a.process[1:]...)
	cmd.Env = a.Env
	out, err := cmd.Output()
	var creds struct{ AccessKeyId string }
	if err == nil {
		err = json.Unmarshal(out, &creds)
	}
	if err != nil {
		return fmt.Errorf("get identity: get credentials: failed to refresh cached credentials, process provider error: error in credential_process: %w", err)
	}
	a.accessKey = creds.AccessKeyId
	return nil
}

func (a *awsClient) sharedCredentials() error {
	raw, err := os.ReadFile(a.path(sharedCredentials))
	if err != nil {
		return fmt.Errorf("get identity: get credentials: failed to refresh cached credentials, no EC2 IMDS role found: %w", err)
	}
	for _, line := range strings.Split(string(raw), "\n") {
		if v, ok := strings.CutPrefix(line, "aws_access_key_id="); ok {
			a.accessKey = v
		}
	}
	return nil
}

func (a *awsClient) get(ctx context.Context, service, operation, path string) ([]byte, error) {
	return a.do(ctx, service, operation, func() (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, a.endpoint(service)+path, nil)
	})
}

const maxAttempts = 3

// do sends the request up to three times while nothing answers; an answer with an error code is final.
func (a *awsClient) do(ctx context.Context, service, operation string, build func() (*http.Request, error)) ([]byte, error) {
	prefix := fmt.Sprintf("operation error %s: %s, ", service, operation)
	if err := a.credentials(ctx); err != nil {
		return nil, fmt.Errorf("%s%w", prefix, err)
	}
	var last error
	for attempt := 0; attempt < maxAttempts; attempt++ {
		if attempt > 0 && !a.sleep(ctx, 2*time.Second) {
			return nil, ctx.Err()
		}
		req, err := build()
		if err != nil {
			return nil, err
		}
		req.Header.Set("User-Agent", "aws-sdk-go-v2/1.0 fakenodeadm")
		req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/20250101/%s/%s/aws4_request, SignedHeaders=host, Signature=standin",
			a.accessKey, a.region, strings.ToLower(service)))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			last = err
			continue
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if err != nil {
			last = err
			continue
		}
		if resp.StatusCode >= 300 {
			code, message := apiError(resp, body)
			return nil, fmt.Errorf("%shttps response error StatusCode: %d, RequestID: , api error %s: %s", prefix, resp.StatusCode, code, message)
		}
		return body, nil
	}
	return nil, fmt.Errorf("%sexceeded maximum number of attempts, %d, https response error StatusCode: 0, RequestID: , request send failed, %w",
		prefix, maxAttempts, last)
}

// apiError reads the error of either protocol: JSON or XML.
func apiError(resp *http.Response, body []byte) (code, message string) {
	var j struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &j) == nil && (j.Type != "" || j.Message != "") {
		return j.Type, j.Message
	}
	var x struct {
		Error struct{ Code, Message string }
	}
	if xml.Unmarshal(body, &x) == nil && x.Error.Code != "" {
		return x.Error.Code, x.Error.Message
	}
	return resp.Status, string(body)
}

// callerIdentity returns the ARN that STS sees.
func (a *awsClient) callerIdentity(ctx context.Context) (string, error) {
	body, err := a.do(ctx, "STS", "GetCallerIdentity", func() (*http.Request, error) {
		form := "Action=GetCallerIdentity&Version=2011-06-15"
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.endpoint("STS")+"/", strings.NewReader(form))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return req, err
	})
	if err != nil {
		return "", err
	}
	var out struct {
		Result struct{ Arn string } `xml:"GetCallerIdentityResult"`
	}
	if err := xml.Unmarshal(body, &out); err != nil {
		return "", fmt.Errorf("cannot read the answer to GetCallerIdentity: %w", err)
	}
	return out.Result.Arn, nil
}

func (a *awsClient) ecrToken(ctx context.Context) error {
	_, err := a.target(ctx, "ECR", "AmazonEC2ContainerRegistry_V20150921", "GetAuthorizationToken", "{}")
	return err
}

// target calls an operation of the JSON protocol.
func (a *awsClient) target(ctx context.Context, service, prefix, operation, body string) ([]byte, error) {
	return a.do(ctx, service, operation, func() (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.endpoint(service)+"/", strings.NewReader(body))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-amz-json-1.1")
			req.Header.Set("X-Amz-Target", prefix+"."+operation)
		}
		return req, err
	})
}
