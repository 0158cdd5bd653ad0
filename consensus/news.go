package consensus

import (
	"time"

	"go.etcd.io/etcd/raft/v3/raftpb"
)

// commitNews keeps back, for a moment, appends that carry nothing but a commit
// index. raft sends one to every follower for each commit, and each is
// answered: half of all messages when little is going on. The next append
// mostly follows at once and says the same; if none does, the newest one
// leaves when its moment has come. Nobody waits for it: clients are answered
// by the leader.
type commitNews struct {
	messages []raftpb.Message // at most one for each follower
	at       time.Duration    // when they leave; 0: there is none
}

// keep takes m if it is such an append, and forgets what another message to
// the same follower makes superfluous.
func (n *commitNews) keep(now, delay time.Duration, m raftpb.Message) bool {
	if m.Type != raftpb.MsgApp {
		return false
	}
	for i := range n.messages {
		if n.messages[i].To == m.To {
			n.messages[i] = n.messages[len(n.messages)-1]
			n.messages = n.messages[:len(n.messages)-1]
			break
		}
	}
	if len(m.Entries) > 0 {
		return false
	}
	n.messages = append(n.messages, m)
	if n.at == 0 {
		n.at = now + delay
	}
	return true
}

// due appends to out what has been kept for long enough.
func (n *commitNews) due(now time.Duration, out []raftpb.Message) []raftpb.Message {
	if n.at == 0 || now < n.at {
		return out
	}
	out = append(out, n.messages...)
	*n = commitNews{messages: n.messages[:0]}
	return out
}

// sooner returns the earlier of two times, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}
