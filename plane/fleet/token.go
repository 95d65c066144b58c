package fleet

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"strings"
)

const (
	tokenPrefix     = "token/"
	tokenTextPrefix = "hyt-"
	tokenBytes      = 20
	maxTokenBytes   = 256
)

// NewToken makes the text of an enrolment token: 160 random bits in lowercase
// letters and digits behind a prefix that secret scanners can look for.
func NewToken() (string, error) {
	b := make([]byte, tokenBytes)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("cannot make a token: %w", err)
	}
	return tokenTextPrefix + strings.ToLower(base32.StdEncoding.EncodeToString(b)), nil
}

// TokenKey is where the name of a token is found by its text: only the hash of
// the text is kept. 160 random bits need no salt and no slow hash.
func TokenKey(text string) string {
	sum := sha256.Sum256([]byte(text))
	return tokenPrefix + hex.EncodeToString(sum[:])
}
