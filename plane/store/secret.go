package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

const (
	keyBytes  = 32
	sealTag   = 1 // first byte of what is sealed: AES-256-GCM, 96-bit random nonce
	nonceSize = 12
)

// secretBox encrypts single values with a key that is kept outside etcd, so
// that a copy of etcd's files alone gives no secret away.
type secretBox struct{ aead cipher.AEAD }

// openBox reads the key file; it makes one only for a fresh data directory.
func openBox(path string, fresh bool) (*secretBox, error) {
	key, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && fresh:
		key = make([]byte, keyBytes)
		if _, err := rand.Read(key); err != nil {
			return nil, fmt.Errorf("cannot make a secret key: %w", err)
		}
		if err := writeDurable(path, key); err != nil {
			return nil, err
		}
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s is missing, and the secrets of this data directory cannot be read without it; restore it from the backup of this plane", path)
	case err != nil:
		return nil, fmt.Errorf("cannot read secret key %s: %w", path, err)
	}
	if len(key) != keyBytes {
		return nil, fmt.Errorf("%s holds %d bytes, want %d; restore it from the backup of this plane", path, len(key), keyBytes)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cannot use secret key %s: %w", path, err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("cannot use secret key %s: %w", path, err)
	}
	return &secretBox{aead: aead}, nil
}

// writeDurable writes a 0600 file that is whole or absent after a power cut;
// renameio leaves the directory unsynced.
func writeDurable(path string, data []byte) error {
	if err := renameio.WriteFile(path, data, 0o600, renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("cannot open the directory of %s: %w", path, err)
	}
	defer func() { _ = dir.Close() }()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("cannot sync the directory of %s: %w", path, err)
	}
	return nil
}

// Seal encrypts a value. The label binds it to its place: what was sealed under
// one label is not accepted under another.
func (s *Store) Seal(label string, plain []byte) ([]byte, error) {
	out := make([]byte, 1+nonceSize, 1+nonceSize+len(plain)+s.box.aead.Overhead())
	out[0] = sealTag
	if _, err := rand.Read(out[1:]); err != nil {
		return nil, fmt.Errorf("cannot encrypt %s: %w", label, err)
	}
	return s.box.aead.Seal(out, out[1:1+nonceSize], plain, []byte(label)), nil
}

// Unseal decrypts what Seal made under the same label.
func (s *Store) Unseal(label string, sealed []byte) ([]byte, error) {
	if len(sealed) < 1+nonceSize || sealed[0] != sealTag {
		return nil, fmt.Errorf("cannot decrypt %s: not in a known format", label)
	}
	plain, err := s.box.aead.Open(nil, sealed[1:1+nonceSize], sealed[1+nonceSize:], []byte(label))
	if err != nil {
		return nil, fmt.Errorf("cannot decrypt %s: %w", label, err)
	}
	return plain, nil
}
