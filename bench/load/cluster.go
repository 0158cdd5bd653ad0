package load

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// place is where a single client works.
type place struct{ name, addr string }

// singlePlaces returns an address of the node that leads the namespace's
// group, and one of another node where there is one.
func singlePlaces(ctx context.Context, addrs []string, namespace string) ([]place, error) {
	var ring struct{ Leader string }
	if err := get(ctx, addrs[0], "/v1/cluster/ring?namespace="+namespace, &ring); err != nil {
		return nil, err
	}
	var leader, other []place
	for _, addr := range addrs {
		var cluster struct{ Node string }
		if err := get(ctx, addr, "/v1/cluster", &cluster); err != nil {
			return nil, err
		}
		if cluster.Node == ring.Leader {
			leader = []place{{"leader", addr}}
		} else {
			other = []place{{"other", addr}}
		}
	}
	return append(leader, other...), nil
}

// get reads a JSON document.
func get(ctx context.Context, addr, path string, into any) error {
	c := newConn()
	defer c.close()
	a, err := c.do(ctx, request{addr: addr, method: http.MethodGet, path: []byte(path)})
	if err == nil {
		err = a.check()
	}
	if err == nil {
		err = json.Unmarshal(a.body, into)
	}
	if err != nil {
		return fmt.Errorf("GET http://%s%s: %w", addr, path, err)
	}
	return nil
}
