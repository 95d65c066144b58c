// Package metrics owns the Prometheus endpoint: which metrics there are, and the
// HTTP server that answers scrapes. The numbers come from the pipeline's state at
// the moment of the scrape; nothing is counted here.
package metrics
