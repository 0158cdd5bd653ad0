// Package leasepb holds the wire form of what a group's log orders: commands,
// their results, and the views that reads return. It is generated; see
// lease.proto for what the fields mean.
package leasepb

//go:generate protoc -I. --go_out=. --go_opt=paths=source_relative lease.proto
