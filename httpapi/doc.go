// Package httpapi is lockd's REST API: it turns requests into the commands of
// package lease, and results and errors into JSON.
//
// It knows neither raft nor groups: everything behind it is the interface
// Service. It decides nothing about locks, keeps no state between requests
// but the cluster's key for lease proofs, and starts no goroutine of its own.
//
// Rules that it keeps:
//  1. what a client sent is read strictly: a typo is an error and never
//     silently a default;
//  2. a lease's secret is shown to nobody but the one who was given it, and
//     appears in no log, error, event or view;
//  3. every error has a code from one table, and only answers that say so
//     leave open whether something was done;
//  4. a one-shot grant whose answer could not be written is released at once.
//
// A Server serves many requests at the same time. Each runs on the goroutine
// that net/http gave it; a handler's exchange belongs to that goroutine.
package httpapi
