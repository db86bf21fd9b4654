package app

import (
	"context"
	"net"
	"net/http"
	"strings"
)

// operations is the second address, where operators and their machines ask.
type operations struct {
	listener net.Listener // nil where there is none
}

// openOperations opens OPS_ADDR, where it is set.
func openOperations(ctx context.Context, cfg *Config) (*operations, error) {
	if cfg.OpsAddr == "" {
		return new(operations), nil
	}
	listener, err := listen(ctx, cfg.OpsAddr, "OPS_ADDR")
	if err != nil {
		return nil, err
	}
	return &operations{listener}, nil
}

func (o *operations) serve(s *servers, handler http.Handler) {
	if o.listener != nil {
		s.serve(o.listener, handler, "", "")
	}
}

func (o *operations) close() {
	if o.listener != nil {
		o.listener.Close()
	}
}

// url is where the metrics are to be found; "" where they are not.
func (o *operations) url() string {
	if o.listener == nil {
		return ""
	}
	return "http://" + strings.Replace(o.listener.Addr().String(), "[::]", "localhost", 1) + "/metrics"
}
