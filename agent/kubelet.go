package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// kubeletHealthURL is kubelet's own health endpoint, on the loopback only
// (--healthz-port's default).
const kubeletHealthURL = "http://127.0.0.1:10248/healthz"

// kubeletHealthz returns the probe of kubelet's health endpoint. It keeps one
// connection, never uses a proxy and follows no redirect.
func kubeletHealthz() func(ctx context.Context) error {
	client := &http.Client{
		Timeout: 3 * time.Second,
		Transport: &http.Transport{
			DialContext:  (&net.Dialer{KeepAlive: -1}).DialContext,
			MaxIdleConns: 1, IdleConnTimeout: time.Minute, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, kubeletHealthURL, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			var op *net.OpError
			if errors.As(err, &op) {
				return op
			}
			return err
		}
		defer func() { _ = response.Body.Close() }()
		body, _ := io.ReadAll(io.LimitReader(response.Body, 256))
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s: %s", kubeletHealthURL, response.Status, body)
		}
		return nil
	}
}
