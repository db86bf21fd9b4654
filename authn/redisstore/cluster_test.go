package redisstore_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/storetest"
	"latchkey/internal/apptest"
)

// TestCluster runs the suite on a cluster of three servers.
func TestCluster(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t)
	addr := strings.TrimPrefix(nodes[1].url, "redis://")
	storetest.Run(t, func(t *testing.T) authn.Store {
		c := openClocked(t, nodes[0])
		return clusterClocked{c, nodes}
	})

	s := open(t, nodes[0].url+"?addr="+addr)
	for range 50 {
		must(t, s.Create(t.Context(), newRecord(10)))
	}
	for i, node := range nodes {
		if n := node.size(t); n == 0 {
			t.Errorf("node %d has no keys", i)
		}
	}
	if keys, err := s.List(t.Context(), newRecord(0).Owner); err != nil || len(keys) != 50 {
		t.Errorf("%d sessions of the owner, error %v", len(keys), err)
	}
	// Each node reports only some of the changes: the store must find the rest.
	here, there := open(t, nodes[2].url), s
	for range 10 {
		r := newRecord(10)
		must(t, there.Create(t.Context(), r))
		_, err := here.Load(t.Context(), r.Key)
		must(t, err, there.End(t.Context(), r.Key, authn.CauseSignedOut, r.Expires))
		eventually(t, "another node refuses the session", func() bool {
			_, err := here.Load(t.Context(), r.Key)
			return err != nil
		})
	}
}

// clusterClocked advances the time on every node.
type clusterClocked struct {
	clocked
	nodes []*server
}

func (c clusterClocked) Sweep(ctx context.Context, now time.Time) (int, error) {
	swept := 0
	for _, node := range c.nodes {
		n, err := clocked{c.Store, node, c.prefix}.Sweep(ctx, now)
		swept += n
		if err != nil {
			return swept, err
		}
	}
	return swept, nil
}

// startCluster starts three servers and gives each one a third of the slots.
func startCluster(t *testing.T) []*server {
	t.Helper()
	var nodes []*server
	slots := []string{"0", "5460", "5461", "10922", "10923", "16383"}
	for i := range 3 {
		node := startServerAt(t, apptest.FreePort(t), "--cluster-enabled", "yes", "--cluster-port", apptest.FreePort(t), "--cluster-node-timeout", "5000")
		must(t, node.do(t, "CLUSTER", "ADDSLOTSRANGE", slots[2*i], slots[2*i+1]).Error())
		nodes = append(nodes, node)
	}
	for _, node := range nodes[1:] {
		_, port, _ := strings.Cut(strings.TrimPrefix(node.url, "redis://"), ":")
		bus := node.args[len(node.args)-3]
		must(t, nodes[0].do(t, "CLUSTER", "MEET", "127.0.0.1", port, bus).Error())
	}
	for _, node := range nodes {
		eventually(t, "the cluster is whole", func() bool {
			info, err := node.do(t, "CLUSTER", "INFO").ToString()
			must(t, err)
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		})
	}
	return nodes
}

// TestSentinel (FM-13) makes the sentinel promote the replica. An ended session stays ended
// there.
func TestSentinel(t *testing.T) {
	t.Parallel()
	const patience = time.Minute // a sentinel that was delayed itself does nothing for 30 seconds
	first, second := startServerAt(t, apptest.FreePort(t)), startServerAt(t, apptest.FreePort(t))
	firstPort := first.args[1]
	must(t, second.do(t, "REPLICAOF", "127.0.0.1", firstPort).Error())
	eventually(t, "the replica follows", func() bool {
		info, err := second.do(t, "INFO", "replication").ToString()
		must(t, err)
		return strings.Contains(info, "master_link_status:up")
	})
	config := filepath.Join(shortDir(t), "sentinel.conf")
	must(t, os.WriteFile(config, []byte("sentinel monitor main 127.0.0.1 "+firstPort+" 1\nsentinel down-after-milliseconds main 60000\n"), 0o600))
	sentinel := startSentinel(t, config)
	within(t, patience, "the sentinel knows the replica", func() bool {
		list, err := sentinel.do(t, "SENTINEL", "REPLICAS", "main").ToArray()
		return err == nil && len(list) == 1
	})

	s := open(t, sentinel.url+"?master_set=main")
	r := newRecord(10)
	must(t, s.Create(t.Context(), r))
	eventually(t, "the replica has the session", func() bool { return second.size(t) == first.size(t) })
	within(t, patience, "the sentinel starts a failover", func() bool { return sentinel.do(t, "SENTINEL", "FAILOVER", "main").Error() == nil })
	within(t, patience, "the replica is the primary", func() bool {
		info, err := second.do(t, "INFO", "replication").ToString()
		return err == nil && strings.Contains(info, "role:master")
	})
	within(t, patience, "the store follows", func() bool {
		before := second.size(t)
		return s.Create(t.Context(), newRecord(10)) == nil && second.size(t) > before
	})
	must(t, s.End(t.Context(), r.Key, authn.CauseSignedOut, r.Expires))
	wantNotFound(t, s, r.Key)
}

// TestSentinelCannotLeadElsewhere (CF-11) has a sentinel name another machine as the
// primary.
func TestSentinelCannotLeadElsewhere(t *testing.T) {
	t.Parallel()
	config := filepath.Join(shortDir(t), "sentinel.conf")
	must(t, os.WriteFile(config, []byte("sentinel monitor main 192.0.2.1 6379 1\n"), 0o600))
	_, err := openLogged(t, startSentinel(t, config).url+"?master_set=main", slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "insecure=true") {
		t.Errorf("got error %v, want one with insecure=true", err)
	}
}
