package authn

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"net/http"
	"reflect"

	"github.com/gorilla/sessions"
)

// Get implements gorilla's sessions.Store. The only session is named "session". Its Values are
// the application's own, kept on the server, of any size and of any type that encoding/gob can
// encode.
func (s *Sessions) Get(r *http.Request, name string) (*sessions.Session, error) {
	return sessions.GetRegistry(r).Get(s, name)
}

// New implements gorilla's sessions.Store. An error means that the store does not answer, that the stored
// values cannot be decoded, or that the name is not "session". The session that comes with it is empty and
// must not be taken for a visitor's.
func (s *Sessions) New(r *http.Request, name string) (*sessions.Session, error) {
	values := sessions.NewSession(s, name)
	values.IsNew = true
	if name != sessionCookie {
		return values, fmt.Errorf("authn: there is no session %q, only %q", name, sessionCookie)
	}
	session, err := s.of(r)
	if err != nil || session == nil {
		return values, err
	}
	values.IsNew = false
	values.Values, err = decodeValues(session.values)
	return values, err
}

// Save implements gorilla's sessions.Store. It stores the changes to Values since they were
// loaded, and keeps what other requests have changed meanwhile. With Options.MaxAge below zero
// it ends the session, as gorilla's own stores do. It returns ErrAnonymous if there are values
// and nobody is signed in.
func (s *Sessions) Save(r *http.Request, w http.ResponseWriter, values *sessions.Session) error {
	session, err := s.of(r)
	if err != nil {
		return err
	}
	if session == nil {
		if len(values.Values) > 0 {
			return ErrAnonymous
		}
		return nil
	}
	if values.Options != nil && values.Options.MaxAge < 0 {
		if err := s.End(r.Context(), session, CauseSignedOut); err != nil {
			return err // the cookie still opens it
		}
		s.Clear(w)
		return nil
	}
	loaded, err := decodeValues(session.values)
	if err != nil {
		return err
	}
	return s.merge(r.Context(), session, loaded, values.Values)
}

// flashes is the key of the values under which gorilla's AddFlash keeps messages.
const flashes = "_flash"

// HasFlashes reports whether the application's values may contain messages of AddFlash. Every page asks,
// so it does not decode the values, but looks for the key, which gob writes unchanged. If another value
// contains the same text, the caller decodes the values for nothing.
func (s *Session) HasFlashes() bool { return bytes.Contains(s.values, []byte(flashes)) }

// merge saves the difference between the loaded and the wanted values.
func (s *Sessions) merge(ctx context.Context, session *Session, loaded, wanted map[any]any) error {
	if reflect.DeepEqual(loaded, wanted) {
		return nil
	}
	known, err := encodeValues(wanted)
	if err != nil {
		return err
	}
	saved, err := s.Update(ctx, session, func(fresh *Session) error {
		current, err := decodeValues(fresh.values)
		if err != nil {
			return err
		}
		for key, value := range wanted {
			if old, ok := loaded[key]; !ok || !reflect.DeepEqual(old, value) {
				current[key] = value
			}
		}
		for key := range loaded {
			if _, ok := wanted[key]; !ok {
				delete(current, key)
			}
		}
		fresh.values, err = encodeValues(current)
		return err
	})
	if err != nil {
		return err
	}
	// Values that other requests saved are not in this request's map: the next Save must not
	// take them for deleted.
	session.values, session.record, session.cached = known, saved.record, nil // what is cached has the old values
	return nil
}

// of returns the session of a request: the one that the middleware loaded, or the one that its
// cookie opens. It puts that one into the request's context, in place as gorilla does: Save must
// compare with what New returned, and not with what other requests have saved since.
func (s *Sessions) of(r *http.Request) (*Session, error) {
	if session := FromContext(r.Context()); session != nil {
		return session, nil
	}
	session, err := s.Load(r)
	if errors.Is(err, ErrRenewalNeeded) {
		return nil, nil // as the middleware does where no session is needed
	}
	if session != nil {
		*r = *r.WithContext(NewContext(r.Context(), session))
	}
	return session, err
}

func encodeValues(values map[any]any) ([]byte, error) {
	if len(values) == 0 {
		return nil, nil
	}
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(values); err != nil {
		return nil, fmt.Errorf("authn: encoding session values (gob.Register their types): %w", err)
	}
	return buf.Bytes(), nil
}

func decodeValues(encoded []byte) (map[any]any, error) {
	values := make(map[any]any)
	if len(encoded) == 0 {
		return values, nil
	}
	if err := gob.NewDecoder(bytes.NewReader(encoded)).Decode(&values); err != nil {
		return values, fmt.Errorf("authn: decoding session values (gob.Register their types): %w", err)
	}
	return values, nil
}
