package main

import (
	"fmt"
	"strings"

	"hybridagent/plane/kind"
)

// kindWords are what operators call the kinds; the first is the heading of help
// and errors.
type kindWords struct {
	kind  string
	words []string
}

func kinds() []kindWords {
	return []kindWords{
		{kind.Cluster, []string{"clusters", "cluster", "hc", "hybridcluster", "hybridclusters"}},
		{kind.Profile, []string{"profiles", "profile", "prof", "hp", "hybridprofile", "hybridprofiles"}},
		{kind.Pool, []string{"pools", "pool", "np", "nodepool", "nodepools"}},
		{kind.Host, []string{"hosts", "host", "eh", "edgehost", "edgehosts"}},
		{kind.Token, []string{"tokens", "token", "tok", "enrollmenttoken", "enrollmenttokens"}},
	}
}

// kindOf finds the kind that a word means.
func kindOf(word string) (string, error) {
	var first []string
	for _, k := range kinds() {
		for _, w := range k.words {
			if strings.EqualFold(w, word) {
				return k.kind, nil
			}
		}
		first = append(first, k.words[0])
	}
	return "", usageError{fmt.Errorf("%q is no kind of resource; the kinds are %s", word, strings.Join(first, ", "))}
}
