package main

import (
	"fmt"
	"slices"
	"strings"
)

// didYouMean is the end of a message about an unknown name: the known one
// nearest to it. A name far from all gets that too: it still shows what a
// known one looks like.
func didYouMean(unknown, prefix string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	return fmt.Sprintf("; the nearest known is %s%s", prefix, nearest(unknown, known))
}

// nearest returns the name with the least edit distance, the first by bytes of
// several. Case and the kind of separator do not count.
func nearest(unknown string, known []string) string {
	fold := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }
	known = slices.Sorted(slices.Values(known))
	return slices.MinFunc(known, func(a, b string) int {
		return distance(fold(unknown), fold(a)) - distance(fold(unknown), fold(b))
	})
}

// distance is the Levenshtein distance of two texts, by bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1) // distances of a[:i] to every b[:j]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
