package authn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"latchkey/authn/openid"
)

// hookTimeout bounds a sign-in hook. The person waits for it, and their code at the provider is used up.
const hookTimeout = 5 * time.Second

// Arrival is a person whom the provider has identified, before they have a session. It is what a sign-in
// hook sees of a sign-in; the tokens are not included.
type Arrival struct {
	// Identity is the verified identity. Issuer and Subject together identify the person. A name or an
	// e-mail address does not: it may change, and another account may have it.
	Identity openid.Identity
	// ReturnTo is where the person is going, and StepUp says that the page there demanded this sign-in.
	ReturnTo ReturnPath
	StepUp   bool
	// Previous is the session that the browser has, which the new one is about to replace. It is nil if
	// there is none, and may be another person's.
	Previous *Session
	// Values are added to the values of the new session, which inherits those of Previous if that is the
	// same person's.
	Values map[any]any
}

// Refusal is an error that the person may read. A sign-in hook refuses a person with it, and a handler
// a request.
type Refusal struct {
	// Status is the HTTP status of the response, from 400 to 599; 0 means 403.
	Status int
	// Heading and Text are the page: what has happened, and what the person can do.
	Heading, Text string
	// Err is what the log says; the person does not see it. It may be nil.
	Err error
}

// Error returns the operator's text.
func (e *Refusal) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("refused: %q", e.Heading)
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *Refusal) Unwrap() error { return e.Err }

// arrive calls the sign-in hook. On an error, nothing of a session exists yet.
func (s *Sessions) arrive(r *http.Request, in *SignIn) (map[any]any, error) {
	if s.hook == nil {
		return nil, nil
	}
	// As Complete does, it goes on if the browser goes away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), hookTimeout)
	defer cancel()
	previous, err := s.replacedSession(ctx, r, in)
	if err != nil {
		return nil, err
	}
	arrival := &Arrival{
		Identity: in.Identity, ReturnTo: in.ReturnTo, StepUp: in.StepUp, Previous: previous, Values: make(map[any]any),
	}
	// In a goroutine of its own, so that the person does not wait for a hook that ignores its context.
	done := make(chan error, 1)
	go func() {
		err := errHookPanicked
		defer func() { done <- err }()
		defer openid.RecoverPanic(s.log, "the sign-in hook")
		err = s.hook(ctx, arrival)
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err == nil {
		return arrival.Values, nil
	}
	if _, ok := errors.AsType[*Refusal](err); ok {
		return nil, &openid.Error{Reason: ReasonRefused, Err: err}
	}
	return nil, &openid.Error{Reason: ReasonHookFailed, Err: err}
}

// errHookPanicked says that the hook has panicked. The log has the stack.
var errHookPanicked = errors.New("authn: the sign-in hook panicked")

// replacedSession returns the session that a sign-in replaces, or nil. It leaves out a session whose key
// the browser has not proven, neither now nor when the sign-in began: its cookie may be a copy.
func (s *Sessions) replacedSession(ctx context.Context, r *http.Request, in *SignIn) (*Session, error) {
	for _, p := range s.previous(r, in.previous) {
		session, err := s.load(ctx, p.key, p.secret)
		if err == nil && p.key != in.previous.key {
			session, err = s.proven(r, session)
		}
		if _, ended := errors.AsType[*EndedError](err); !ended && !errors.Is(err, ErrRenewalNeeded) {
			return session, err
		}
	}
	return nil, nil
}

// addValues adds values to the application's own.
func (s *Session) addValues(added map[any]any) error {
	if len(added) == 0 {
		return nil
	}
	values, err := s.Values()
	if err != nil {
		return err
	}
	maps.Copy(values, added)
	s.values, err = encodeValues(values)
	return err
}

// Values returns a copy of the application's values in the session. Save of gorilla's session changes
// them.
func (s *Session) Values() (map[any]any, error) { return decodeValues(s.values) }
