package boltstore

import "go.etcd.io/bbolt"

const (
	// reserve is how many pages of the file are free when a session begins. A full disk
	// must keep nobody signed in: to drop an entry, bbolt writes the page that held it
	// elsewhere. Next to records of tens of kilobytes that takes as many pages in a row, which
	// a full file may not have: such a sign-out fails, and says so.
	reserve = 256
	// ballast is the bucket that takes the pages up for a moment.
	ballast = "ballast"
)

// provide sees to it that the reserve is there. Its pages are written once, so that they
// are the file's and the disk has them. Where it is short, one caller provides for all.
func (s *Store) provide() (err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	defer recoverDamage(s.path, &err)
	if stats := s.db.Stats(); stats.FreePageN+stats.PendingPageN >= reserve || !s.providing.TryLock() {
		return nil
	}
	defer s.providing.Unlock()
	err = s.db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte(ballast))
		if err != nil {
			return err
		}
		return bucket.Put([]byte(ballast), make([]byte, reserve*s.db.Info().PageSize))
	})
	if err == nil {
		err = s.db.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(ballast)) })
	}
	return s.failure("writing", err)
}
