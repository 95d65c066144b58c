package main

import (
	"context"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hybridagent/netcfg"
	"hybridagent/test/bench/floor"
)

const (
	listTrials  = 200
	listOwn     = 100
	listForeign = 100_000
)

// list measures finding 100 own routes among 100,000 foreign ones.
func list(_ context.Context, e *env) ([]Result, error) {
	h, err := newHost()
	if err != nil {
		return nil, err
	}
	defer h.close()
	foreign := listForeign
	if e.quick {
		foreign /= 100
	}
	if err := fillTable(h, foreign); err != nil {
		return nil, fmt.Errorf("cannot fill the table: %w", err)
	}
	buf := make([]byte, 32<<10)
	ways := []struct {
		name string
		list func() (int, error)
		took []time.Duration
	}{
		{name: "raw", list: func() (int, error) { return floor.ListStrict(netcfg.OwnProtocol, buf) }},
		{name: "ours", list: func() (int, error) { routes, err := netcfg.OwnRoutes(); return len(routes), err }},
		{name: "vishvananda", list: listVishvananda},
	}
	for n := range e.trials(listTrials) {
		for i := range ways {
			way := &ways[(n+i)%len(ways)]
			err := h.do(func() error {
				begin := time.Now()
				found, err := way.list()
				way.took = append(way.took, time.Since(begin))
				if err == nil && found != listOwn {
					err = fmt.Errorf("%s found %d of %d routes", way.name, found, listOwn)
				}
				return err
			})
			if err != nil {
				return nil, err
			}
		}
	}
	p50 := func(i int) float64 { return millis(percentile(ways[i].took, 50)) }
	return []Result{compare("net.list_own", "ms", p50(1), p50(0), 2.5, map[string]float64{"vishvananda_strict": p50(2)})}, nil
}

// fillTable writes the own routes after that many foreign ones.
func fillTable(h *host, foreign int) error {
	s, err := h.open(0)
	if err != nil {
		return err
	}
	defer s.Close()
	messages := make([][]byte, 0, listOwn+foreign)
	for i := range foreign + listOwn {
		r := driftRoute(0, h.link, floor.Protocol)
		r.Dst = [4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}
		if r.Bits = 32; i >= foreign {
			r.Protocol = netcfg.OwnProtocol
		}
		messages = append(messages, r.Message(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK))
	}
	return s.WriteBatches(messages, make([]byte, 0, 64<<10))
}

func listVishvananda() (int, error) {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return 0, err
	}
	defer nl.Close()
	if err := nl.SetStrictCheck(true); err != nil {
		return 0, err
	}
	routes, err := nl.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{
		Protocol: netlink.RouteProtocol(netcfg.OwnProtocol), Table: unix.RT_TABLE_MAIN,
	}, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	return len(routes), err
}
