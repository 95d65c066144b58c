package main

import (
	"bytes"
	"os"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// TestNICTable: the choice list looks as on the host, where hybrid-agent's test
// reads the same two files.
func TestNICTable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../testdata/nics/nics.json")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../testdata/nics/nics.txt")
	if err != nil {
		t.Fatal(err)
	}
	var host agentv1.Inventory
	if err := protojson.Unmarshal(text, &host); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	nicTable(host.GetNics()).write(&out)
	wantFit(t, "nics", out.String())
	if out.String() != string(want) {
		t.Errorf("got\n%s", out.String())
	}
}
