package fleet

// Close says goodbye to every host, so that the server can stop at once. The
// hosts come back with their usual backoff.
func (f *Fleet) Close() {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, h := range f.hosts {
		h.mu.Lock()
		if h.session != nil {
			h.session.goodbye("the plane stops")
		}
		h.mu.Unlock()
	}
}
