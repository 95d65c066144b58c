package nodeapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// pageSize is how many objects are asked for at once.
const pageSize = "200"

// listAttempts bounds how often a list is begun anew because the server forgot
// the page to go on from.
const listAttempts = 3

// pages hands each object of a list to take. A list that the server cannot go on
// with (410 Gone: it was compacted meanwhile) is begun anew, so take may see an
// object twice.
func (c *Client) pages(ctx context.Context, path string, query url.Values, take func(json.RawMessage) error) error {
	var err error
	for range listAttempts {
		if err = c.list(ctx, path, query, take); !hasCode(err, http.StatusGone) {
			return err
		}
	}
	return err
}

func (c *Client) list(ctx context.Context, path string, query url.Values, take func(json.RawMessage) error) error {
	query.Set("limit", pageSize)
	query.Del("continue")
	for {
		body, err := c.get(ctx, path, query)
		if err != nil {
			return err
		}
		var page struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []json.RawMessage `json:"items"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return fmt.Errorf("cannot parse the list: %w", err)
		}
		for _, item := range page.Items {
			if err := take(item); err != nil {
				return err
			}
		}
		if page.Metadata.Continue == "" {
			return nil
		}
		query.Set("continue", page.Metadata.Continue)
	}
}
