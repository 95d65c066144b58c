package store

import "context"

// AsidePrefix precedes the keys of values that could not be read.
const AsidePrefix = "aside/"

// SetAside moves a value that cannot be read out of the way, so that it is kept
// for whoever looks into it and is not stumbled over again. Writes that stand in
// for it go into the same commit.
func (s *Store) SetAside(ctx context.Context, e Entry, instead ...Write) error {
	writes := []Write{{Key: AsidePrefix + e.Key, Value: e.Value}}
	if len(instead) == 0 {
		writes = append(writes, Write{Key: e.Key, Delete: true})
	}
	_, err := s.Commit(ctx, []Guard{{Key: e.Key, Revision: e.Revision}}, append(writes, instead...))
	return err
}
