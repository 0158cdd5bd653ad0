// Package e2e tests lockd from outside: real processes, disks and sockets.
package e2e

import (
	"fmt"
	"os"
	"testing"

	"lockd/internal/proc"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := proc.RemoveBinary(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
