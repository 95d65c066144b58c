// Package door is the one way from the unprivileged daemon to root: a Unix
// socket that takes one bounded frame per connection, signed operations and a
// closed list of small requests. It decides who may ask and what is well formed;
// what is asked for is done by the packages it is given.
package door
