package artifact_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"hybridagent/nodeadm/artifact"
)

// slowLine answers from memory, each read after a pause.
type slowLine struct {
	source *source
	pause  time.Duration
}

// RoundTrip is an http.RoundTripper's.
func (l slowLine) RoundTrip(r *http.Request) (*http.Response, error) {
	content := l.source.content(r.URL.Path)
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, ContentLength: int64(len(content)), Request: r,
		Body: io.NopCloser(&slowReader{bytes.NewReader(content), r, l.pause}),
	}, nil
}

type slowReader struct {
	from    io.Reader
	request *http.Request
	pause   time.Duration
}

// Read brings a part of the buffer after the pause, or the request's end.
func (s *slowReader) Read(p []byte) (int, error) {
	select {
	case <-time.After(s.pause):
		return s.from.Read(p[:max(len(p)/64, 1)])
	case <-s.request.Context().Done():
		return 0, s.request.Context().Err()
	}
}

// TestSlowLine: a line that goes on is waited for, however long the whole takes;
// one that stands is not.
func TestSlowLine(t *testing.T) {
	s := newSource(t)
	s.Close()
	stage := func(pause time.Duration) (took time.Duration, err error) {
		opt := options(t, s)
		opt.Stall = time.Minute
		synctest.Test(t, func(t *testing.T) {
			opt.Transport = slowLine{s, pause}
			began := time.Now()
			_, err = artifact.Stage(t.Context(), opt)
			took = time.Since(began)
		})
		return took, err
	}
	if took, err := stage(50 * time.Second); err != nil || took < 10*time.Minute {
		t.Errorf("a slow line: %v after %s", err, took)
	}
	_, err := stage(70 * time.Second)
	wantFailure(t, err, false, "sent nothing for 1m0s")
}
