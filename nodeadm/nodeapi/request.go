package nodeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// maxAnswer bounds an answer; a Node with many images has some 100 KiB, a page of
// pods a few MiB.
const maxAnswer = 16 << 20

// Media types of the Kubernetes API.
const (
	jsonType       = "application/json"
	mergePatchType = "application/merge-patch+json" // RFC 7396
)

// errAnswerTooLarge says that the server sent more than a node has.
var errAnswerTooLarge = fmt.Errorf("the answer has more than %d bytes", maxAnswer)

func (c *Client) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	return c.do(ctx, http.MethodGet, path, query, "", nil)
}

// send is a request with a JSON body.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, mediaType string, content any) ([]byte, error) {
	body, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the request: %w", err)
	}
	return c.do(ctx, method, path, query, mediaType, body)
}

// do is one request and its answer. It is sent a second time when the server
// knows the caller not: client-go then starts the credentials' program anew, and
// what was refused so has changed nothing.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, mediaType string, body []byte) ([]byte, error) {
	answer, err := c.once(ctx, method, path, query, mediaType, body)
	var unreachable *UnreachableError
	if errors.As(err, &unreachable) && unreachable.Cause == CauseUnauthorized {
		answer, err = c.once(ctx, method, path, query, mediaType, body)
	}
	return answer, err
}

func (c *Client) once(ctx context.Context, method, path string, query url.Values, mediaType string, body []byte) ([]byte, error) {
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	address := c.server + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(bounded, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("cannot use the API server's address %q: %w; correct it in kubelet's kubeconfig", c.server, err)
	}
	request.Header.Set("Accept", jsonType)
	if mediaType != "" {
		request.Header.Set("Content-Type", mediaType)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, c.unreachable(ctx, err)
	case len(answer) > maxAnswer:
		return nil, errAnswerTooLarge
	case response.StatusCode == http.StatusUnauthorized:
		return nil, &UnreachableError{Server: c.server, Cause: CauseUnauthorized, Err: readStatus(response, answer)}
	case response.StatusCode/100 != 2:
		return nil, readStatus(response, answer)
	}
	return answer, nil
}

// readStatus makes an error of an answer that is none of success. The body is a
// Kubernetes Status, or whatever a proxy on the way says.
func readStatus(response *http.Response, body []byte) *StatusError {
	var status struct {
		Reason  string `json:"reason"`
		Message string `json:"message"`
		Details struct {
			RetryAfterSeconds int           `json:"retryAfterSeconds"`
			Causes            []StatusCause `json:"causes"`
		} `json:"details"`
	}
	result := &StatusError{Code: response.StatusCode}
	if err := json.Unmarshal(body, &status); err == nil && status.Message != "" {
		result.Reason, result.Message, result.Causes = status.Reason, status.Message, status.Details.Causes
		result.RetryAfter = time.Duration(status.Details.RetryAfterSeconds) * time.Second
	} else {
		result.Message = shorten(body)
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		result.RetryAfter = time.Duration(seconds) * time.Second
	}
	return result
}
