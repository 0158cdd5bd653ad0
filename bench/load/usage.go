package load

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what processes have used up to a moment.
type usage struct {
	at      time.Time
	own     time.Duration // CPU of this process
	servers []serverUsage
}

type serverUsage struct {
	pid     int
	cpu     time.Duration
	written uint64 // bytes handed to disks
}

func readUsage(pids []int) (usage, error) {
	u := usage{at: time.Now()}
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return u, fmt.Errorf("own CPU time: %w", err)
	}
	u.own = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	for _, pid := range pids {
		s := serverUsage{pid: pid}
		var err error
		if s.cpu, err = cpuOf(pid); err != nil {
			return u, err
		}
		if s.written, err = writtenBy(pid); err != nil {
			return u, err
		}
		u.servers = append(u.servers, s)
	}
	return u, nil
}

// clockTick is the unit of times in /proc, 1/100 s on every Linux that Go
// runs on.
const clockTick = 10 * time.Millisecond

// cpuOf reads user and system time from /proc/PID/stat.
func cpuOf(pid int) (time.Duration, error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in parentheses and may itself
	// hold some; utime and stime are the 12th and 13th after it.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("%s has %d fields", path, len(fields))
	}
	var ticks uint64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// writtenBy reads write_bytes from /proc/PID/io.
func writtenBy(pid int) (uint64, error) {
	path := fmt.Sprintf("/proc/%d/io", pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "write_bytes:"); found {
			return strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no write_bytes", path)
}
