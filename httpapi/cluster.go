package httpapi

import "net/http"

func (s *Server) clusterRoutes() []*route {
	return []*route{
		{method: http.MethodGet, path: "/v1/cluster", handle: s.cluster},
		{method: http.MethodGet, path: "/v1/cluster/ring", handle: s.ring, query: []string{"namespace"}},
	}
}

func (s *Server) cluster(x *exchange, r *http.Request) error {
	c, err := s.svc.Cluster(r.Context())
	if err != nil {
		return err
	}
	a := &x.out
	a.begin()
	a.text("id", c.ID)
	a.text("version", c.Version)
	a.text("node", c.Node)
	a.array("nodes")
	for i := range c.Nodes {
		a.element()
		a.node(&c.Nodes[i])
		a.endObject()
	}
	a.endArray()
	a.array("groups")
	for i := range c.Groups {
		a.element()
		a.group(&c.Groups[i])
		a.endObject()
	}
	a.endArray()
	a.uint("epoch", c.Epoch)
	a.array("moves")
	a.endArray()
	a.endObject()
	return x.reply(http.StatusOK)
}

func (a *answer) node(n *NodeView) {
	a.text("name", n.Name)
	a.text("listen", n.Listen)
	a.text("peer_listen", n.PeerListen)
	a.bool("up", n.Up)
	a.text("role", n.Role)
}

func (a *answer) group(g *GroupView) {
	a.uint("id", g.ID)
	a.text("leader", g.Leader)
	a.array("replicas")
	for _, node := range g.Replicas {
		a.textElement(node)
	}
	a.endArray()
	a.uint("term", g.Term)
	a.uint("applied", g.Applied)
	a.int("namespaces", int64(g.Namespaces))
}

func (s *Server) ring(x *exchange, r *http.Request) error {
	namespace := queryOf(r).Get("namespace")
	if err := checkNamespace("namespace", namespace); err != nil {
		return err
	}
	place, err := s.svc.Ring(r.Context(), namespace)
	if err != nil {
		return err
	}
	a := &x.out
	a.begin()
	a.text("namespace", place.Namespace)
	a.uint("group", place.Group)
	a.text("leader", place.Leader)
	a.uint("epoch", place.Epoch)
	a.endObject()
	return x.reply(http.StatusOK)
}
