// Package ospack reads the OS pack of an appliance: the manifest that the image
// build printed, with its placeholders put in. What comes out is the image, how
// nodes are drained and what the image says of itself. It also asks a registry
// which digest a tag has at this moment. It decides nothing about hosts.
package ospack
