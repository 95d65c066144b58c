package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestTableFitsTheTerminal(t *testing.T) {
	rows := (&demo{}).rows()
	rows[0].result, rows[0].evidence = held, strings.Repeat("evidence of some length ", 8)
	rows[1].result, rows[1].evidence = failed, strings.Repeat("x", 150)
	var out bytes.Buffer
	printTable(&out, rows)
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	seen := 0
	for _, line := range lines {
		if len(line) > tableWidth {
			t.Errorf("%d columns: %q", len(line), line)
		}
		if strings.HasSuffix(line, "  "+string(notReached)) {
			seen++
		}
	}
	if seen != len(rows)-2 {
		t.Errorf("%d rows are not reached, want %d:\n%s", seen, len(rows)-2, out.String())
	}
}

func TestEveryNeedComesBefore(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range (&demo{}).rows() {
		for _, need := range r.needs {
			if !seen[need] {
				t.Errorf("%s needs %s, which is no row before it", r.id, need)
			}
		}
		if seen[r.id] || r.check == nil || r.limit <= 0 || len(r.id) > 22 {
			t.Errorf("row %q is wrong", r.id)
		}
		seen[r.id] = true
	}
}

func TestSudoPassesTheDemosVariables(t *testing.T) {
	env := map[string]string{"KEEP": "1", "DEMO_BREAK": "route", "SECRET": "x"}
	got := strings.Join(sudoArgs("/r/build/lab/demo", []string{"down"}, func(name string) string { return env[name] }), " ")
	if want := "sudo -- env KEEP=1 DEMO_BREAK=route /r/build/lab/demo down"; got != want {
		t.Errorf("sudo is called as %q, want %q", got, want)
	}
}

func TestUnknownBreakIsRefused(t *testing.T) {
	for _, name := range strings.Split(breakNames, "|") {
		if s, err := parseBreak(name); err != nil || s.String() == breakNothing.String() {
			t.Errorf("break %s: %v, %v", name, s, err)
		}
	}
	if _, err := parseBreak("everything"); err == nil {
		t.Error("an unknown break is taken")
	}
}
