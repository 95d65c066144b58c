package netcfg

// OwnRoutes lists the routes that carry OwnProtocol in the main table and the probe
// tables of the calling thread's network namespace, sorted. The kernel filters, so
// that many foreign routes cost little. It needs no rights.
func OwnRoutes() ([]Route, error) {
	conn, err := dialRequest()
	if err != nil {
		return nil, err
	}
	defer conn.close()
	var all []Route
	for _, table := range ownTables() {
		kept := len(all)
		err := conn.dumpRoutes(table, OwnProtocol, func() { all = all[:kept] }, func(r Route) { all = append(all, r) })
		if err != nil {
			return nil, err
		}
	}
	return sortRoutes(all), nil
}
