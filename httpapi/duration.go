package httpapi

import "time"

// The bounds of the durations that clients give.
const (
	defaultTTL   = 30 * time.Second
	minTTL       = time.Second
	maxTTL       = 24 * time.Hour
	maxWait      = 10 * time.Minute
	maxLockDelay = time.Minute
)

const durationForm = `must be a duration with its unit, such as "30s" or "1500ms"`

// parseDuration reads a Go duration within bounds.
func parseDuration(field, text string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, invalid(field, durationForm)
	}
	if d < least || d > most {
		return 0, invalidf(field, "must be from %v to %v", least, most)
	}
	return d, nil
}

// millisUp is d in whole milliseconds, rounded up: what a client asked for is
// never cut short.
func millisUp(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
