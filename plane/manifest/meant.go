package manifest

import "strings"

// meant proposes the known word that is nearest to a mistyped one, if any is
// near.
func meant(word string, known []string) string {
	best, distance := "", len(word)/3+2
	for _, k := range known {
		if strings.EqualFold(k, word) {
			return "; did you mean " + k + "?"
		}
		if n := edits(strings.ToLower(word), strings.ToLower(k)); n < distance {
			best, distance = k, n
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// edits is the Levenshtein distance of two words.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, before+1)
		}
	}
	return row[len(b)]
}

// Distance is the number of letters that have to be changed, added or removed to
// turn one word into another.
func Distance(a, b string) int { return edits(a, b) }
