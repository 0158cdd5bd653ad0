package httpapi

import (
	"net/http"
	"testing"
)

func TestCluster(t *testing.T) {
	n := start(t, new(fakeService))
	n.ask("GET", "/v1/cluster", "").wantJSON(http.StatusOK, `{"id":"c1","version":"dev","node":"n1",`+
		`"nodes":[{"name":"n1","listen":"127.0.0.1:8081","peer_listen":"127.0.0.1:7081","up":true,"role":"voter"}],`+
		`"groups":[{"id":1,"leader":"n1","replicas":["n1"],"term":2,"applied":7,"namespaces":1}],"epoch":1,"moves":[]}`)
	n.ask("GET", "/v1/cluster/ring?namespace=jobs", "").wantJSON(http.StatusOK, `{"namespace":"jobs","group":1,"leader":"n1","epoch":1}`)
	n.ask("GET", "/v1/cluster/ring", "").wantInvalid("namespace")
	n.ask("GET", "/v1/cluster?verbose=1", "").wantInvalid("verbose")
}
