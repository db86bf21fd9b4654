package authn

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"latchkey/authn/openid"
)

const (
	// operatorTimeout bounds what an operator asks for, such as to end every session.
	operatorTimeout = 5 * time.Minute
	// endsAtATime is how many sessions EndSelected ends at the same time: a store that waits for its
	// disk writes them together.
	endsAtATime = 64
)

// Selection says which sessions an operator means. The zero Selection means all of them.
type Selection struct {
	// Subject is the provider's identifier of the sessions' person. Issuer is that of the provider, ""
	// for every configured one: the same subject at two of them is two people. An Issuer without a Subject
	// selects nothing.
	Issuer, Subject string
	// Session is what Session.LogID returns.
	Session string
}

// ListedSession is a session as operators see it. Its claims are not included: only the person's cookie
// opens them.
type ListedSession struct {
	// Session and Person are the names in the log.
	Session  string    `json:"session"`
	Person   string    `json:"person"`
	Device   string    `json:"device"`
	SignedIn time.Time `json:"signed_in"`
	LastSeen time.Time `json:"last_seen"`
	Expires  time.Time `json:"expires"`
}

// List returns the selected sessions, those of a person in the order of their sign-ins. An error, an
// *openid.Error with ReasonStoreUnavailable, is the last thing that it returns.
func (s *Sessions) List(ctx context.Context, which Selection) iter.Seq2[ListedSession, error] {
	return func(yield func(ListedSession, error) bool) {
		ctx, cancel := context.WithTimeout(ctx, operatorTimeout)
		defer cancel()
		for r, err := range s.selected(ctx, which) {
			listed := ListedSession{logID(r.Key), personID(r.Owner), r.Device, r.SignedIn, r.LastSeen, r.Expires}
			if !yield(listed, err) {
				return
			}
		}
	}
}

// EndSelected ends the selected sessions for an operator, and returns how many it has ended, also if it
// fails. It goes on if the operator stops waiting. If they are those of a person, it also refuses a
// sign-in of the person that is under way.
func (s *Sessions) EndSelected(ctx context.Context, which Selection) (int, error) {
	return s.endSelected(ctx, which, CauseOperator)
}

// EndPerson ends all sessions of the person whom an issuer and its subject identify, and refuses their
// sign-ins that are under way. It is for the product, for example after it has deleted their data. It
// returns how many sessions it has ended, even if it fails.
func (s *Sessions) EndPerson(ctx context.Context, issuer, subject string) (int, error) {
	if issuer == "" || subject == "" {
		return 0, nil // an empty Selection means everyone
	}
	return s.endSelected(ctx, Selection{Issuer: issuer, Subject: subject}, CauseProduct)
}

func (s *Sessions) endSelected(ctx context.Context, which Selection, cause Cause) (int, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), operatorTimeout)
	defer cancel()
	var ended atomic.Int64
	group, ending := errgroup.WithContext(ctx)
	group.SetLimit(endsAtATime)
	for record, err := range s.selected(ctx, which) {
		group.Go(func() error {
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ending, writeTimeout)
			defer cancel()
			if err := s.end(ctx, record.Key, record.Owner, cause); err != nil {
				return unavailable(err)
			}
			ended.Add(1)
			return nil
		})
	}
	err := group.Wait()
	if err == nil && which.Subject != "" && which.Session == "" {
		for person, provider := range s.people(which) {
			err = errors.Join(err, s.refuseUnderWay(ctx, person, provider, cause))
		}
	}
	return int(ended.Load()), err
}

// refuseUnderWay makes sure that an ID token that the provider has issued by now, by its own clock, begins
// no session of a person.
func (s *Sessions) refuseUnderWay(ctx context.Context, person names, provider *openid.Provider, cause Cause) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	ahead, _ := provider.ClockSkew()
	ahead = min(max(ahead, -openid.Leeway), openid.Leeway) // beyond that, no token is accepted
	ahead += time.Second                                   // it was measured with a clock of whole seconds
	ended, err := s.revoke(ctx, person, s.now().Add(ahead), s.now().Add(endingMemory))
	s.noteEnded(ctx, cause, person.current(), ended...) // those that began a session just now
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// people returns the names of the people who have the selection's subject, one for each issuer, and their
// provider. The configured issuer of many tenants stands for all of them.
func (s *Sessions) people(which Selection) iter.Seq2[names, *openid.Provider] {
	return func(yield func(names, *openid.Provider) bool) {
		for _, p := range s.providers {
			for _, issuer := range p.Issuers() {
				wanted := which.Issuer == "" || which.Issuer == issuer || which.Issuer == p.Issuer()
				if wanted && !yield(s.keys.owner(issuer, which.Subject), p) {
					return
				}
			}
		}
	}
}

// PeopleOf returns the names in the log of the people who have the selection's subject.
func (s *Sessions) PeopleOf(which Selection) (ids []string) {
	for person := range s.people(which) {
		ids = append(ids, personID(person.current()))
	}
	return ids
}

// selected returns the records of the selected sessions that have not expired.
func (s *Sessions) selected(ctx context.Context, which Selection) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		records := s.store.All(ctx)
		switch {
		case which.Subject != "":
			records = s.recordsOf(ctx, which)
		case which.Issuer != "":
			return
		}
		now := s.now()
		for record, err := range records {
			if err != nil {
				yield(Record{}, unavailable(err))
				return
			}
			wanted := which.Session == "" || which.Session == logID(record.Key)
			if wanted && now.Before(record.Expires) && !yield(record, nil) {
				return
			}
		}
	}
}

// recordsOf returns the records of the people who have the selection's subject. Like Store.All, it
// returns an error last.
func (s *Sessions) recordsOf(ctx context.Context, which Selection) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for person := range s.people(which) {
			records, err := s.list(ctx, person)
			if err != nil {
				yield(Record{}, err)
				return
			}
			for _, record := range records {
				if !yield(record, nil) {
					return
				}
			}
		}
	}
}
