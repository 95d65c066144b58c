package netcfg

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// attachFilter makes the kernel keep from an event socket what the Keeper would
// throw away: routes of others' tables, and the echo of its own writes (nlmsg_pid
// is port). Without it each write of ours would wake the reader for nothing, just
// when a CPU is wanted elsewhere.
func attachFilter(fd int, port uint32) error {
	program := eventFilter(port)
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	if err != nil {
		return fmt.Errorf("cannot filter rtnetlink events: %w", err)
	}
	return nil
}

// eventFilter is the filter in classic BPF, on one struct nlmsghdr with its struct
// rtmsg. Loads are big endian, netlink is in host byte order: the constants are
// turned instead.
func eventFilter(port uint32) []unix.SockFilter {
	load := func(size uint16, offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_ABS | size, K: offset}
	}
	equal := func(k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: yes, Jf: no}
	}
	and := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: k}
	}
	give := func(n uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: n} }
	return []unix.SockFilter{
		load(unix.BPF_H, 4),                 // nlmsg_type
		equal(swapped16(rtmNewRule), 11, 0), // a rule: whose?
		equal(swapped16(rtmDelRule), 10, 0),
		equal(swapped16(rtmNewRoute), 1, 0),
		equal(swapped16(rtmDelRoute), 0, 11), // neither rule nor route: keep
		load(unix.BPF_B, headerLen+4),        // rtm_table
		equal(TableMain, 6, 0),               // the main table: whose?
		equal(tableCompat, 0, 7),             // another small table: drop
		load(unix.BPF_H, headerLen+rtmsgLen+2),
		equal(swapped16(rtaTable), 0, 6), // not the first attribute, as it always was: keep
		load(unix.BPF_W, headerLen+rtmsgLen+4),
		and(^swapped32(MaxVPNServers - 1)), // the probe tables' numbers differ in these bits
		equal(swapped32(ProbeTable), 0, 2), // another table: drop
		load(unix.BPF_W, 12),               // nlmsg_pid
		equal(swapped32(port), 0, 1),       // ours: drop, else keep
		give(0),                            // drop
		give(0xffffffff),                   // keep all of it
	}
}

func swapped16(v uint16) uint32 {
	return uint32(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, v)))
}

func swapped32(v uint32) uint32 {
	return binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, v))
}
