// Command attacker is what somebody who has taken over the daemon could try, run on
// a test host as the daemon's user. It prints one line for each thing tried, and
// BREACH before what must not have worked; the test looks at the host as well.
//
//	attacker request SOCKET FILE...   send frames as they are, print the answers
//	attacker burst SOCKET N           N connections at once, and what became of them
//	attacker hold SOCKET N TIME       N half-open connections for that time
//	attacker frames SOCKET DIR        every kind of request and bytes, from DIR's frames
//	attacker host PID                 files, other folders, links, D-Bus, root's process
//	attacker snapshot DIR...          (root) what lies there: mode, owner, change, hash
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) < 3 {
		fail("usage: see the source")
	}
	args := os.Args[2:]
	switch os.Args[1] {
	case "request":
		request(args[0], args[1:])
	case "burst":
		burst(args[0], number(args[1]))
	case "hold":
		patience, err := time.ParseDuration(args[2])
		must(err)
		hold(args[0], number(args[1]), patience)
	case "frames":
		frames(args[0], args[1])
	case "host":
		host(number(args[0]))
	case "snapshot":
		snapshot(args)
	default:
		fail("unknown: " + os.Args[1])
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	must(err)
	return n
}

func must(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(text string) {
	fmt.Println("attacker:", text)
	os.Exit(2)
}

// breach says that something worked.
func breach(format string, args ...any) { fmt.Printf("BREACH "+format+"\n", args...) }

// tried says what something came to.
func tried(what string, err error) { fmt.Printf("%s: %v\n", what, err) }
