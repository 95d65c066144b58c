package netcfg

// Diff compares the wanted routes with those in the kernel and returns what to
// write: add (nothing of ours has that key), replace (ours has the key with other
// attributes; the kernel swaps it in one step) and del (ours, no longer wanted).
// Write add and replace before del, so that a destination never goes without.
//
// Routes in have that are not ours are ignored, even where they hold a wanted
// key: adding ours then fails with EEXIST, and the foreign one stays. Routes in
// want that are not ours, or repeat a key, are ignored as well. The results are
// sorted by destination and share no memory with the arguments.
func Diff(want, have []Route) (add, replace, del []Route) {
	wanted := make(map[routeKey]Route, len(want))
	for _, r := range want {
		if _, twice := wanted[r.key()]; r.Own() && !twice {
			wanted[r.key()] = r
		}
	}
	// matched holds the keys of ours that exist, with whether one of them is
	// exactly as wanted: appended duplicates (`ip route append`) share a key.
	matched := make(map[routeKey]bool)
	var extra []Route
	for _, r := range have {
		if !r.Own() {
			continue
		}
		w, ok := wanted[r.key()]
		switch {
		case !ok:
			del = append(del, r)
		case r == w && !matched[r.key()]:
			matched[r.key()] = true
		default:
			if _, seen := matched[r.key()]; !seen {
				matched[r.key()] = false
			}
			extra = append(extra, r)
		}
	}
	for _, r := range extra {
		if matched[r.key()] {
			del = append(del, r)
		}
	}
	for key, r := range wanted {
		exact, exists := matched[key]
		switch {
		case !exists:
			add = append(add, r)
		case !exact:
			replace = append(replace, r)
		}
	}
	return sortRoutes(add), sortRoutes(replace), sortRoutes(del)
}
