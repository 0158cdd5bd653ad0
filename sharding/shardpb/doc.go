// Package shardpb holds the wire form of what nodes ask each other for their
// clients, and of the system group's log and snapshots. It is generated; see
// shard.proto for what the fields mean.
package shardpb

//go:generate protoc -I. -I../../lease/leasepb --go_out=. --go_opt=paths=source_relative --go_opt=Mlease.proto=lockd/lease/leasepb shard.proto
