// Package store keeps the people of the product in a SQL database. The statements are the same for
// SQLite and PostgreSQL.
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	_ "modernc.org/sqlite"             // the driver sqlite, in pure Go
)

// The errors that callers handle.
var (
	// ErrNoUser says that there is no such user, or no longer.
	ErrNoUser = errors.New("store: there is no such user")
	// ErrTaken says that an identity belongs to another user.
	ErrTaken = errors.New("store: the identity belongs to another user")
)

// Store is the database.
type Store struct {
	db       *sql.DB
	postgres bool
}

// Open opens the database and migrates it. The address is that of a PostgreSQL server,
// postgres://user:password@host/database, or sqlite: and the path of a file.
func Open(ctx context.Context, address string) (*Store, error) {
	driver, source, err := parse(address)
	if err != nil {
		return nil, err
	}
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s := &Store{db: db, postgres: driver == "pgx"}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// parse returns the driver of an address, and the data source for it. The error does not quote the
// address, which may hold a password.
func parse(address string) (driver, source string, err error) {
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok && path != "" {
		// A transaction that will write has to lock from the beginning: SQLite refuses one that has read
		// an older state.
		options := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)", "foreign_keys(1)", "journal_mode(WAL)"}}
		return "sqlite", (&url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: options.Encode()}).String(), nil
	}
	if strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://") {
		return "pgx", address, nil
	}
	return "", "", errors.New("store: the address begins with neither sqlite: nor postgres://")
}

// CheckAddress returns an error if Open cannot use an address.
func CheckAddress(address string) error {
	_, _, err := parse(address)
	return err
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the key of the lock under which PostgreSQL is migrated. Any number of its own would do.
const migrationLock = 7_051_622_934

// migrate runs the migrations that have not run yet, in the order of their names, all or none. Of nodes
// that start together, one does.
func (s *Store) migrate(ctx context.Context) error {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	return s.within(ctx, func(tx *sql.Tx) error {
		if s.postgres { // SQLite has locked the file
			if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, migrationLock); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS migrations (name TEXT NOT NULL PRIMARY KEY)`); err != nil {
			return err
		}
		for _, name := range names {
			if err := migrateOnce(ctx, tx, name); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	})
}

func migrateOnce(ctx context.Context, tx *sql.Tx, name string) error {
	result, err := tx.ExecContext(ctx, `INSERT INTO migrations (name) VALUES ($1) ON CONFLICT (name) DO NOTHING`, name)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err
	}
	statements, err := migrations.ReadFile(name)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, string(statements))
	return err
}

// within runs statements in one transaction.
func (s *Store) within(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// User is a person of the product.
type User struct {
	ID, Name string
	// Role is the product's own: Member or Manager.
	Role string
	// Identities are what the person can sign in with, in the order of their issuers and subjects.
	Identities []Identity
}

// The roles.
const (
	Member  = "member"
	Manager = "manager"
)

// Identity is a person at a provider. Issuer and Subject name it; the rest is what the provider said at
// the last sign-in.
type Identity struct{ Issuer, Subject, Name, Email string }

// SignIn returns the ID of the user of an identity, and notes what the provider says of it now. At the
// first sign-in it creates the user.
//
// It looks for the issuer and the subject, and never for the e-mail address: anyone who gets a provider to
// say somebody's address would otherwise get their account.
func (s *Store) SignIn(ctx context.Context, i Identity, now time.Time) (id string, err error) {
	err = s.within(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx,
			`UPDATE identities SET name = $3, email = $4, seen = $5 WHERE issuer = $1 AND subject = $2 RETURNING user_id`,
			i.Issuer, i.Subject, i.Name, i.Email, now.Unix()).Scan(&id)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		id, err = create(ctx, tx, i, now)
		return err
	})
	return id, err
}

// create creates the user of an identity, unless another sign-in has done so just now.
func create(ctx context.Context, tx *sql.Tx, i Identity, now time.Time) (id string, err error) {
	created := rand.Text()
	if _, err := tx.ExecContext(ctx, `INSERT INTO users (id, name, created) VALUES ($1, $2, $3)`, created, i.Name, now.Unix()); err != nil {
		return "", err
	}
	err = tx.QueryRowContext(ctx,
		`INSERT INTO identities (issuer, subject, user_id, name, email, seen) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (issuer, subject) DO UPDATE SET seen = excluded.seen RETURNING user_id`,
		i.Issuer, i.Subject, created, i.Name, i.Email, now.Unix()).Scan(&id)
	if err == nil && id != created {
		_, err = tx.ExecContext(ctx, `DELETE FROM users WHERE id = $1`, created)
	}
	return id, err
}

// Link lets a user sign in with one more identity. It returns ErrTaken if the identity is another
// user's, and ErrNoUser.
func (s *Store) Link(ctx context.Context, id string, i Identity, now time.Time) error {
	return s.within(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx,
			`INSERT INTO identities (issuer, subject, user_id, name, email, seen)
			SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), id, CAST($4 AS TEXT), CAST($5 AS TEXT), CAST($6 AS BIGINT) FROM users WHERE id = $3
			ON CONFLICT (issuer, subject) DO NOTHING`,
			i.Issuer, i.Subject, id, i.Name, i.Email, now.Unix()); err != nil {
			return err
		}
		var owner string
		err := tx.QueryRowContext(ctx, `SELECT user_id FROM identities WHERE issuer = $1 AND subject = $2`, i.Issuer, i.Subject).Scan(&owner)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return ErrNoUser
		case err == nil && owner != id:
			return ErrTaken
		}
		return err
	})
}

// User returns a user, or ErrNoUser.
func (s *Store) User(ctx context.Context, id string) (User, error) {
	u := User{ID: id}
	err := s.db.QueryRowContext(ctx, `SELECT name, role FROM users WHERE id = $1`, id).Scan(&u.Name, &u.Role)
	if errors.Is(err, sql.ErrNoRows) {
		return User{}, ErrNoUser
	}
	if err != nil {
		return User{}, fmt.Errorf("store: %w", err)
	}
	u.Identities, err = identities(ctx, s.db, id)
	return u, err
}

// queryer is a database, or a transaction in it.
type queryer interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}

func identities(ctx context.Context, q queryer, id string) ([]Identity, error) {
	return list(ctx, q, func(rows *sql.Rows, i *Identity) error { return rows.Scan(&i.Issuer, &i.Subject, &i.Name, &i.Email) },
		`SELECT issuer, subject, name, email FROM identities WHERE user_id = $1 ORDER BY issuer, subject`, id)
}

// Users returns everyone by name, without their identities.
func (s *Store) Users(ctx context.Context) ([]User, error) {
	return list(ctx, s.db, func(rows *sql.Rows, u *User) error { return rows.Scan(&u.ID, &u.Name, &u.Role) },
		`SELECT id, name, role FROM users ORDER BY name, id`)
}

// list returns the rows of a query.
func list[T any](ctx context.Context, q queryer, scan func(*sql.Rows, *T) error, query string, args ...any) (all []T, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var one T
		if err := scan(rows, &one); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// Rename changes the name that a user goes by, or returns ErrNoUser.
func (s *Store) Rename(ctx context.Context, id, name string) error {
	return s.change(ctx, `UPDATE users SET name = $2 WHERE id = $1`, id, name)
}

// SetRole changes the role of a user, or returns ErrNoUser.
func (s *Store) SetRole(ctx context.Context, id, role string) error {
	return s.change(ctx, `UPDATE users SET role = $2 WHERE id = $1`, id, role)
}

// change changes the row of one user.
func (s *Store) change(ctx context.Context, statement string, args ...any) error {
	result, err := s.db.ExecContext(ctx, statement, args...)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return ErrNoUser
}

// Delete deletes all that is known of a user, and returns the identities that they could sign in with.
// It is no error if there is no such user.
func (s *Store) Delete(ctx context.Context, id string) (known []Identity, err error) {
	err = s.within(ctx, func(tx *sql.Tx) error {
		if known, err = identities(ctx, tx, id); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM users WHERE id = $1`, id) // and the identities with it
		return err
	})
	return known, err
}
