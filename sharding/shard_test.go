package sharding

import (
	"testing"
	"time"

	"lockd/consensus"
	"lockd/lease"
	"lockd/lease/leasepb"
	"lockd/sharding/shardpb"
)

const ttl = 10 * time.Second

func TestLeaseExpiresWhenItsTimeIsOver(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", ttl)
	r.pass(ttl - time.Millisecond)
	if len(r.view("l").Holders) != 1 {
		t.Fatal("S3: expired early")
	}
	r.pass(10 * time.Millisecond)
	if len(r.view("l").Holders) != 0 {
		t.Fatal("not expired")
	}
}

func TestKeepaliveRenews(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", ttl)
	r.pass(ttl - time.Second)
	if got := r.renew(1); got.outcome != shardpb.Renewed_RENEWED || got.ttl != ttl || got.expiresIn != ttl {
		t.Fatalf("keepalive: %+v", got)
	}
	r.pass(ttl - time.Millisecond)
	if len(r.view("l").Holders) != 1 {
		t.Fatal("S3: expired before the keepalive's TTL was over")
	}
}

func TestKeepaliveOfNoLeaseIsNotFound(t *testing.T) {
	if got := newRig(t).renew(1); got.outcome != shardpb.Renewed_RENEWED_NOT_FOUND {
		t.Fatalf("%+v", got)
	}
}

// R5: what a keepalive was confirmed for is looked at again when it is
// answered: the lease may have ended, and the namespace may have gone.
func TestR5KeepaliveIsCheckedAgainWhenConfirmed(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", ttl)
	received := r.now
	r.release(1, "l")
	if got := r.renewReceived(1, received); got.outcome != shardpb.Renewed_RENEWED_NOT_FOUND {
		t.Fatalf("a lease that was released after the keepalive came: %+v", got)
	}
	r.s.state = lease.New() // owns nothing
	if got := r.renewReceived(1, received); got.outcome != shardpb.Renewed_RENEWED_WRONG_GROUP {
		t.Fatalf("a namespace that is not here: %+v", got)
	}
}

// R6: from the proposal of Expire on, no keepalive until its outcome is known.
func TestR6NoKeepaliveWhileExpireIsOpen(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", ttl)
	r.now += ttl
	if cmds := r.turn(0); len(cmds) != 1 || len(cmds[0].GetExpire().GetLeases()) != 1 {
		t.Fatalf("proposed %v, want one Expire", cmds)
	}
	if got := r.renew(1); got.outcome != shardpb.Renewed_RENEWED_EXPIRING {
		t.Fatalf("renewed while its Expire is on its way: %+v", got)
	}
	r.commit()
	if got := r.renew(1); got.outcome != shardpb.Renewed_RENEWED_NOT_FOUND {
		t.Fatalf("after the Expire: %+v", got)
	}
}

// R6: an Expire that was certainly not proposed frees the lease again.
func TestR6RefusedExpireLetsTheLeaseBeRenewed(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", ttl)
	r.now += ttl
	r.turn(0)
	r.refuse()
	if got := r.renew(1); got.outcome != shardpb.Renewed_RENEWED {
		t.Fatalf("%+v", got)
	}
	r.pass(ttl - time.Millisecond)
	if len(r.view("l").Holders) != 1 {
		t.Fatal("S3: expired though it was renewed")
	}
	r.pass(time.Second)
	if len(r.view("l").Holders) != 0 {
		t.Fatal("never tried again")
	}
}

// R6: while its outcome is unknown, the lease may be ended by it.
func TestR6NoKeepaliveWhileTheOutcomeOfExpireIsUnknown(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", ttl)
	r.now += ttl
	r.turn(0)
	for _, p := range r.log {
		p.Done(nil, consensus.ErrOutcomeUnknown)
	}
	r.log = nil
	if got := r.renew(1); got.outcome != shardpb.Renewed_RENEWED_EXPIRING {
		t.Fatalf("%+v", got)
	}
}

func TestRefusedExpireIsNotProposedAgainAtOnce(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", ttl)
	r.now += ttl
	r.turn(0)
	r.refuse()
	if cmds := r.turn(0); len(cmds) != 0 {
		t.Fatalf("proposed %v in the same turn: the group's loop would never end", cmds)
	}
	r.pass(refusedPause)
	if len(r.view("l").Holders) != 0 {
		t.Fatal("not proposed again after a pause")
	}
}

// R-time: a new leader gives every lease its full TTL, whatever passed before.
func TestRTimeNewLeaderStartsTimersInFull(t *testing.T) {
	r := newRig(t)
	r.create(1, ttl, 30*time.Second)
	r.grant(1, "l", 0)
	waiting := r.do(r.acquire(2, "l", ttl, 5*time.Second))
	r.pass(4 * time.Second)
	r.depose()
	if !waiting.heard || waiting.err != errPlaceLeft {
		t.Fatalf("the waiter of a lost leadership heard %+v", waiting)
	}
	r.elect()
	r.pass(5*time.Second - time.Millisecond)
	if v := r.view("l"); len(v.Holders) != 1 || v.QueueLength != 1 {
		t.Fatalf("%d holders, %d waiting after nearly a full wait and half a TTL", len(v.Holders), v.QueueLength)
	}
	r.pass(10 * time.Millisecond)
	if v := r.view("l"); v.QueueLength != 0 {
		t.Fatal("the wait did not end under the new leader")
	}
	r.pass(5 * time.Second)
	v := r.view("l")
	if len(v.Holders) != 0 || !v.Closed {
		t.Fatal("the lease did not end under the new leader")
	}
	r.pass(20 * time.Second)
	r.depose()
	r.elect()
	r.pass(29 * time.Second)
	if !r.view("l").Closed {
		t.Fatal("the lock-delay did not start in full at the new leader")
	}
	r.pass(2 * time.Second)
	if r.view("l").Closed {
		t.Fatal("the lock-delay never ended")
	}
}

// R-time: a leader that stood still puts its timers off: keepalives that were
// sent meanwhile still wait in its sockets.
func TestRTimeLeaderThatStoodStillWaitsForWhatHasArrived(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", ttl)
	r.now += 2 * ttl
	if cmds := r.turn(2 * ttl); len(cmds) != 0 {
		t.Fatalf("woke up and proposed %v", cmds)
	}
	if got := r.renew(1); got.outcome != shardpb.Renewed_RENEWED {
		t.Fatalf("%+v", got)
	}
}

// R-time: an entry of an earlier term is dropped, and so is what a deposed
// leader left over.
func TestRTimeExpireOfAnotherTermIsDropped(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", ttl)
	r.now += ttl
	r.turn(0)
	late := r.log
	r.log = nil
	r.s.Follow()
	r.elect()
	r.log = late // committed in the new term, as no raft would
	r.commit()
	if len(r.view("l").Holders) != 1 {
		t.Fatal("an Expire of another term ended a lease")
	}
	if got := r.renew(1); got.outcome != shardpb.Renewed_RENEWED {
		t.Fatalf("its end touched the new leader's timers: %+v", got)
	}
}

// R13: the end of a wait is answered only when the Cancel was applied.
func TestR13EndOfWaitIsAnsweredWhenCancelIsApplied(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", ttl)
	waiting := r.do(r.acquire(2, "l", ttl, time.Second))
	r.now += time.Second
	r.turn(0)
	if waiting.heard {
		t.Fatalf("answered before the Cancel was applied: %+v", waiting)
	}
	r.commit()
	if waiting.code() != leasepb.Code_LOCK_HELD || len(waiting.result.Blocked) != 1 {
		t.Fatalf("heard %+v", waiting)
	}
	if held := waiting.result.Blocked[0].Holders[0].ExpiresInMs; held != (ttl - time.Second).Milliseconds() {
		t.Errorf("the holder's lease expires in %d ms", held)
	}
	if _, alive := r.s.state.Lease(leaseID(2)); alive {
		t.Error("the one-shot lease stayed behind")
	}
}

// R13: grant or Cancel, whichever is applied first, is the answer.
func TestR13GrantBeforeCancelIsAGrant(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", ttl)
	waiting := r.do(r.acquire(2, "l", ttl, time.Second))
	r.now += time.Second
	id := leaseID(1)
	r.propose(&leasepb.Command{Op: &leasepb.Command_Release{Release: &leasepb.Release{
		Lease: id[:], Locks: []*leasepb.ReleaseRef{{Namespace: "jobs", Lock: "l"}},
	}}})
	r.turn(0) // the Cancel comes behind the release
	r.commit()
	if waiting.code() != leasepb.Code_OK || waiting.result.WaitedMs != 1000 || waiting.result.ExpiresInMs != ttl.Milliseconds() {
		t.Fatalf("heard %+v", waiting)
	}
	r.pass(time.Second)
	if len(r.view("l").Holders) != 1 {
		t.Fatal("the late Cancel ended the grant")
	}
}

// R13: a one-shot lease runs from its first grant on, not while it waits.
func TestR13OneShotDoesNotRunDownWhileItWaits(t *testing.T) {
	r := newRig(t)
	r.create(1, time.Hour, 0)
	r.grant(1, "l", 0)
	waiting := r.do(r.acquire(2, "l", time.Second, time.Minute))
	r.pass(30 * time.Second)
	if got := r.renew(2); got.outcome != shardpb.Renewed_RENEWED || got.expiresIn != time.Second {
		t.Fatalf("keepalive of a waiting one-shot lease: %+v", got)
	}
	r.release(1, "l")
	if waiting.code() != leasepb.Code_OK || waiting.result.ExpiresInMs != 1000 {
		t.Fatalf("heard %+v", waiting)
	}
	r.pass(1100 * time.Millisecond)
	if len(r.view("l").Holders) != 0 {
		t.Fatal("its TTL did not start at the grant")
	}
}

func TestWaiterWhoseLeaseEndsHearsItAtOnce(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", time.Hour)
	r.create(2, ttl, 0)
	waiting := r.do(r.acquire(2, "l", 0, time.Minute))
	r.pass(ttl + 10*time.Millisecond)
	if waiting.code() != leasepb.Code_LEASE_NOT_FOUND {
		t.Fatalf("heard %+v", waiting)
	}
}

// R13: a place whose serving process is gone is cancelled after an election
// timeout, and never granted.
func TestR13PlaceOfALostNodeIsCancelled(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", time.Hour)
	cmd := r.acquire(2, "l", time.Hour, time.Minute)
	cmd.GetAcquire().Attempt = r.attempt(otherBoot)
	r.serve(cmd)
	r.commit()
	r.pass(time.Minute / 2)
	if r.view("l").QueueLength != 1 {
		t.Fatal("cancelled while its node is linked")
	}
	r.s.links.closed(otherBoot)
	r.pass(election / 2)
	if r.view("l").QueueLength != 1 {
		t.Fatal("cancelled before an election timeout was over")
	}
	r.pass(election / 2)
	r.pass(election / 2)
	if r.view("l").QueueLength != 0 {
		t.Fatal("not cancelled")
	}
}

// R13: a new leader knows the places that its predecessor queued.
func TestR13NewLeaderCancelsPlacesOfALostNode(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", time.Hour)
	cmd := r.acquire(2, "l", time.Hour, time.Minute)
	cmd.GetAcquire().Attempt = r.attempt(otherBoot)
	r.do(cmd)
	r.depose()
	r.s.links.closed(otherBoot)
	r.elect()
	for range 3 {
		r.pass(election / 2)
	}
	if r.view("l").QueueLength != 0 {
		t.Fatal("not cancelled")
	}
}

// A grant to a one-shot lease whose node is gone reaches nobody and is undone.
func TestOneShotGrantToALostNodeIsReleased(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", time.Hour)
	cmd := r.acquire(2, "l", time.Hour, time.Minute)
	cmd.GetAcquire().Attempt = r.attempt(otherBoot)
	r.do(cmd)
	r.depose()
	r.s.links.closed(otherBoot)
	r.elect()
	r.release(1, "l") // before anybody noticed
	if len(r.view("l").Holders) != 1 {
		t.Fatal("the place is not there")
	}
	for range 4 {
		r.pass(election / 2)
	}
	if len(r.view("l").Holders) != 0 {
		t.Fatal("a grant that reached nobody stands")
	}
}

// The same grant stays if its node is there and asks for it.
func TestOneShotGrantIsKeptForANodeThatAsksAgain(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", time.Hour)
	cmd := r.acquire(2, "l", time.Hour, time.Minute)
	cmd.GetAcquire().Attempt = r.attempt(otherBoot)
	r.do(cmd)
	r.depose()
	r.elect()
	r.release(1, "l")
	r.grant(2, "l", 0) // joins what its lease has
	r.s.links.closed(otherBoot)
	for range 6 {
		r.pass(election / 2)
	}
	if len(r.view("l").Holders) != 1 {
		t.Fatal("a grant that was delivered was undone")
	}
}

func TestClientGoneLeavesTheQueue(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", time.Hour)
	for _, when := range []string{"after it was queued", "before it was queued"} {
		rep, cancel := r.serve(r.acquire(2, "l", time.Hour, time.Minute))
		if when == "after it was queued" {
			r.commit()
			cancel()
		} else {
			cancel()
			r.commit()
		}
		r.pass(0)
		if n := r.view("l").QueueLength; n != 0 {
			t.Errorf("%s: %d wait still", when, n)
		}
		if rep.code() != leasepb.Code_LOCK_HELD {
			t.Errorf("%s: heard %+v", when, rep)
		}
	}
}

func TestOneShotGrantOfAClientThatIsGoneIsReleased(t *testing.T) {
	t.Run("granted at once", func(t *testing.T) {
		r := newRig(t)
		_, cancel := r.serve(r.acquire(1, "l", time.Hour, 0))
		cancel()
		r.commit()
		r.pass(0)
		if len(r.view("l").Holders) != 0 {
			t.Fatal("held by nobody")
		}
	})
	t.Run("granted from the queue", func(t *testing.T) {
		r := newRig(t)
		r.grant(1, "l", time.Hour)
		_, cancel := r.serve(r.acquire(2, "l", time.Hour, time.Minute))
		r.commit()
		cancel()
		r.release(1, "l") // overtakes the Cancel
		r.pass(0)
		if len(r.view("l").Holders) != 0 {
			t.Fatal("held by nobody")
		}
	})
	t.Run("with a key it stays for the retry", func(t *testing.T) {
		r := newRig(t)
		cmd := r.acquire(1, "l", time.Hour, 0)
		cmd.Key = &leasepb.Key{Hash: make([]byte, 16), Body: make([]byte, 16)}
		_, cancel := r.serve(cmd)
		cancel()
		r.commit()
		r.pass(0)
		if len(r.view("l").Holders) != 1 {
			t.Fatal("a keyed grant was undone")
		}
	})
	t.Run("with a key it stays, also from the queue", func(t *testing.T) {
		r := newRig(t)
		r.grant(1, "l", time.Hour)
		cmd := r.acquire(2, "l", time.Hour, time.Minute)
		cmd.Key = &leasepb.Key{Hash: make([]byte, 16), Body: make([]byte, 16)}
		_, cancel := r.serve(cmd)
		r.commit()
		cancel()
		r.release(1, "l")
		r.pass(0)
		if len(r.view("l").Holders) != 1 {
			t.Fatal("a keyed grant was undone")
		}
	})
	t.Run("a lease that holds more is not ended", func(t *testing.T) {
		r := newRig(t)
		r.grant(1, "l", time.Hour)
		r.grant(2, "other", time.Hour)
		_, cancel := r.serve(r.acquire(2, "l", 0, time.Minute))
		r.commit()
		cancel()
		r.release(1, "l")
		r.pass(0)
		if len(r.view("other").Holders) != 1 {
			t.Fatal("a lease in use was ended")
		}
	})
	t.Run("asking again for what one has does not lose it", func(t *testing.T) {
		r := newRig(t)
		r.grant(1, "l", time.Hour)
		_, cancel := r.serve(r.acquire(1, "l", 0, 0))
		cancel()
		r.commit()
		r.pass(0)
		if len(r.view("l").Holders) != 1 {
			t.Fatal("a lease in use was ended")
		}
	})
}

// A newer attempt takes over the place; both hear of the grant.
func TestNewerAttemptJoinsThePlace(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", time.Hour)
	r.create(2, time.Hour, 0)
	first := r.do(r.acquire(2, "l", 0, 10*time.Second))
	r.pass(time.Second)
	second := r.do(r.acquire(2, "l", 0, 10*time.Second))
	if r.view("l").QueueLength != 1 {
		t.Fatal("two places for one lease")
	}
	r.release(1, "l")
	if first.code() != leasepb.Code_OK || second.code() != leasepb.Code_OK || first.result.Grants[0].Token != second.result.Grants[0].Token {
		t.Fatalf("heard %+v and %+v", first, second)
	}
}

// The older attempt's own wait still ends, without the place.
func TestOlderAttemptsWaitEnds(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", time.Hour)
	r.create(2, time.Hour, 0)
	first := r.do(r.acquire(2, "l", 0, 2*time.Second))
	r.pass(time.Second)
	second := r.do(r.acquire(2, "l", 0, 10*time.Second))
	r.pass(1010 * time.Millisecond)
	if first.code() != leasepb.Code_LOCK_HELD || second.heard || r.view("l").QueueLength != 1 {
		t.Fatalf("first heard %+v, second %+v, %d wait", first, second, r.view("l").QueueLength)
	}
	r.release(1, "l")
	if second.code() != leasepb.Code_OK {
		t.Fatalf("second heard %+v", second)
	}
}

// R14: after an expiry the lock stays closed for the lock-delay.
func TestR14LockDelay(t *testing.T) {
	r := newRig(t)
	r.create(1, ttl, 5*time.Second)
	r.grant(1, "l", 0)
	r.pass(ttl + 10*time.Millisecond)
	v := r.view("l")
	if !v.Closed || v.ClosedForMs != 5000 {
		t.Fatalf("closed %v for %d ms", v.Closed, v.ClosedForMs)
	}
	waiting := r.do(r.acquire(2, "l", ttl, time.Minute))
	r.pass(4900 * time.Millisecond)
	if waiting.heard {
		t.Fatalf("a closed lock was granted: %+v", waiting)
	}
	r.pass(200 * time.Millisecond)
	if waiting.code() != leasepb.Code_OK {
		t.Fatalf("heard %+v", waiting)
	}
}

// R8: the leader's timer forgets a key, through the log, after two minutes.
func TestR8KeysAreForgottenInTime(t *testing.T) {
	r := newRig(t)
	cmd := r.acquire(1, "l", time.Hour, 0)
	cmd.Key = &leasepb.Key{Hash: []byte("0123456789abcdef"), Body: make([]byte, 16)}
	first := r.do(cmd)
	r.pass(lease.KeyRemembered - time.Second)
	if again := r.do(cmd); again.code() != leasepb.Code_OK || again.result.Grants[0].Token != first.result.Grants[0].Token {
		t.Fatalf("a retry heard %+v", again)
	}
	if r.s.state.Stats().Keys != 1 {
		t.Fatal("the key was forgotten early")
	}
	r.pass(2 * time.Second)
	if r.s.state.Stats().Keys != 0 {
		t.Fatal("the key was not forgotten")
	}
}

// F25: very many leases that end at once are ended in small entries, few at a
// time, and other requests come in between.
func TestMassExpiryComesInSmallEntries(t *testing.T) {
	const leases = 10_000
	r := newRig(t)
	for n := range leases {
		r.create(n, ttl, 0)
	}
	r.now += ttl
	entries, ended := 0, 0
	for r.s.state.Stats().Leases > 0 {
		cmds := r.turn(0)
		if len(cmds) > maxExpires {
			t.Fatalf("%d entries open at once", len(cmds))
		}
		for _, cmd := range cmds {
			entries++
			ended += len(cmd.GetExpire().Leases)
			if n := len(cmd.GetExpire().Leases); n > expireBatch {
				t.Fatalf("an entry ends %d leases", n)
			}
		}
		r.commit()
	}
	if ended != leases || entries > leases/expireBatch+1 {
		t.Errorf("%d entries for %d leases", entries, ended)
	}
}

// F26: the places of many clients that vanish at once.
func TestManyClientsVanishAtOnce(t *testing.T) {
	r := newRig(t)
	r.grant(0, "l", time.Hour)
	var cancels []func()
	for n := range 5000 {
		_, cancel := r.serve(r.acquire(n+1, "l", time.Hour, time.Hour))
		cancels = append(cancels, cancel)
	}
	r.commit()
	for _, cancel := range cancels {
		cancel()
	}
	for range 100 {
		if n := len(r.turn(0)); n > maxCancels {
			t.Fatalf("%d entries open at once", n)
		}
		r.commit()
		r.now += refusedPause
	}
	if n := r.view("l").QueueLength; n != 0 {
		t.Fatalf("%d wait still", n)
	}
}

// A follower keeps no timers, and proposes nothing.
func TestFollowerProposesNothing(t *testing.T) {
	r := newRig(t)
	r.grant(1, "l", ttl)
	r.depose()
	r.now += 10 * ttl
	if cmds := r.turn(0); len(cmds) != 0 {
		t.Fatalf("a follower proposed %v", cmds)
	}
}

// R1: a group that owns nothing asks for its ranges, once it leads.
func TestR1LeaderOfANewGroupTakesItsRanges(t *testing.T) {
	r := newRig(t)
	if len(r.s.state.Ranges()) != 1 {
		t.Fatalf("owns %v", r.s.state.Ranges())
	}
	r.s.state = lease.New()
	r.s.ranges = nil
	if rep := r.do(r.acquire(1, "l", ttl, 0)); rep.code() != leasepb.Code_WRONG_GROUP {
		t.Fatalf("a group that owns nothing answered %+v", rep)
	}
	if _, ok := r.s.Query(r.now, r.now, &shardpb.LockQuery{Namespace: "jobs", Lock: "l"}).(error); !ok {
		t.Fatal("a group that owns nothing answered a read")
	}
}

func multiAcquire(r *rig, n int, wait time.Duration, locks ...string) *leasepb.Command {
	cmd := r.acquire(n, locks[0], 0, wait)
	for _, l := range locks[1:] {
		cmd.GetAcquire().Locks = append(cmd.GetAcquire().Locks, &leasepb.LockRequest{Namespace: "jobs", Lock: l, Permits: 1})
	}
	return cmd
}

// R13: a Cancel that names a lock which the lease holds ends no wait, and
// does not make the leader forget its timer.
func TestR13CancelOfAHeldLockEndsNoWait(t *testing.T) {
	r := newRig(t)
	r.create(1, time.Hour, 0)
	r.create(2, time.Hour, 0)
	r.grant(1, "a", 0)
	r.grant(2, "b", 0)
	cmd := multiAcquire(r, 1, time.Second, "a", "b")
	r.do(cmd)
	a := cmd.GetAcquire()
	// What errand.settle sends first when the client goes; its node then dies.
	r.do(&leasepb.Command{Op: &leasepb.Command_Cancel{Cancel: &leasepb.Cancel{
		Lease: a.Lease, Lock: &leasepb.LockRef{Namespace: "jobs", Lock: "a"}, Attempt: a.Attempt,
		Reason: leasepb.CancelReason_CANCEL_CLIENT_GONE}}})
	r.pass(time.Minute)
	if q := r.view("b").QueueLength; q != 0 {
		t.Errorf("a minute after a wait of 1s, %d wait still", q)
	}
}

// What has been answered must not be kept.
func TestOlderAttemptsAreForgotten(t *testing.T) {
	r := newRig(t)
	r.create(1, time.Hour, 0)
	r.create(2, time.Hour, 0)
	r.grant(1, "a", 0)
	for range 200 {
		r.do(r.acquire(2, "a", 0, time.Second)) // overlaps with the one before
		r.pass(600 * time.Millisecond)
	}
	for _, w := range r.s.lead.waiters {
		if len(w.older) > 10 {
			t.Errorf("%d older attempts are kept", len(w.older))
		}
	}
}
