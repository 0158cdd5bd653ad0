package main

import "testing"

func TestByteSize(t *testing.T) {
	for text, want := range map[string]ByteSize{"0": 0, "1": 1, "1000B": 1000, "64KiB": 64 << 10, "64MiB": 64 << 20, "3GiB": 3 << 30} {
		var size ByteSize
		if err := size.Set(text); err != nil || size != want {
			t.Errorf("%s: %d, %v", text, size, err)
		}
		var again ByteSize
		if err := again.Set(size.String()); err != nil || again != size {
			t.Errorf("%d as text is %q: %v", size, size, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5MiB", "1MB", "1 MiB", "99999999999GiB"} {
		if err := new(ByteSize).Set(text); err == nil {
			t.Errorf("%q is a size", text)
		}
	}
}

func TestPeers(t *testing.T) {
	var p Peers
	if err := p.Set("n2=b:2, n1=a:1,"); err != nil {
		t.Fatal(err)
	}
	if p.String() != "n1=a:1,n2=b:2" {
		t.Error(p.String())
	}
	for _, text := range []string{"n1", "n1=a:1,n1=b:2"} {
		if err := p.Set(text); err == nil {
			t.Errorf("%q names peers", text)
		}
	}
	if p.String() != "n1=a:1,n2=b:2" {
		t.Errorf("a refused text changed it to %s", &p)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"listen", "peer-listen", "data-dir", "election"}
	for unknown, want := range map[string]string{
		"liste": "listen", "peerlisten": "peer-listen", "DATA_DIR": "data-dir", "electoin": "election", "dir": "data-dir",
	} {
		if got := nearest(unknown, known); got != want {
			t.Errorf("%s: %s", unknown, got)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"same", "same", 0}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q to %q: %d", tt.a, tt.b, got)
		}
		if got := distance(tt.b, tt.a); got != tt.want {
			t.Errorf("%q to %q: %d", tt.b, tt.a, got)
		}
	}
}
