package session

import (
	"math/rand/v2"
	"time"
)

// Backoff yields waiting times with full jitter: each is random between zero and
// a bound that doubles, so that a fleet that lost its plane at one moment does not
// come back at one moment. The zero value is not usable; it is not safe for
// concurrent use.
type Backoff struct {
	// First bounds the first wait, Cap all of them.
	First, Cap time.Duration
	// Rand returns numbers in [0,1); nil: math/rand/v2.
	Rand func() float64

	tries int
}

// Next returns the next wait.
func (b *Backoff) Next() time.Duration {
	bound := b.Cap
	if b.tries < 32 && b.First<<b.tries < b.Cap && b.First<<b.tries > 0 {
		bound = b.First << b.tries
	}
	b.tries++
	random := b.Rand
	if random == nil {
		random = rand.Float64
	}
	return time.Duration(random() * float64(bound))
}

// Reset starts over from First.
func (b *Backoff) Reset() { b.tries = 0 }
