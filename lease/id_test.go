package lease

import (
	"strings"
	"testing"
)

func TestParseID(t *testing.T) {
	id := NewID("jobs", [12]byte{1, 2, 3})
	if got, err := ParseID(id.String()); err != nil || got != id {
		t.Errorf("ParseID(%q) = %v, %v", id, got, err)
	}
	for name, text := range map[string]string{
		"empty":         "",
		"short":         strings.Repeat("0", 31),
		"long":          strings.Repeat("0", 33),
		"upper case":    strings.ToUpper(NewID("a", [12]byte{}).String()),
		"other letters": strings.Repeat("z", 32),
		"a line break":  strings.Repeat("0", 31) + "\n",
		"line breaks":   strings.Repeat("0", 24) + strings.Repeat("\r\n", 4),
	} {
		if got, err := ParseID(text); err == nil {
			t.Errorf("%s: ParseID(%q) = %v, want an error", name, text, got)
		}
	}
}
