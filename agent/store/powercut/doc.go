// Package powercut replays, for tests, what a power cut may leave of files of
// state: a Recorder stands between package store and the disk, and from what it
// saw it makes every state that the disk may be in afterwards. Nothing that is
// shipped imports it.
//
// The model is stricter than ext4 or XFS are, as POSIX allows:
//   - What was written to a file since its last fsync is there in part: any
//     prefix of the writes, the last of them whole, cut in half, or as zeros of
//     its length (the size reached the disk, the data did not); and of several
//     writes any one may be the zeros.
//   - What became of names (made, renamed, removed) since the directory's last
//     fsync is there in any combination: every subset. Beyond maxNames pending
//     changes, which no write of package store leaves, only the prefixes of their
//     order, and each with one change missing.
//   - An fsync of a file says nothing of its name, one of a directory nothing of
//     the content below it.
//
// Content and names are combined freely. A power cut may come after each of the
// recorded operations.
package powercut
