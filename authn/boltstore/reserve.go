package boltstore

import "go.etcd.io/bbolt"

const (
	// reserve is how many pages of the file are free when a session begins. Without free
	// pages, people could not sign out on a full disk: to drop an entry, bbolt writes its
	// page elsewhere. A page with records of tens of kilobytes needs many consecutive
	// pages, which a full file may not have. Such a sign-out fails with an error.
	reserve = 256
	// ballast is the bucket that occupies the pages for a moment.
	ballast = "ballast"
)

// provide makes sure that the reserve exists. It writes the pages once, so that the file
// has them and the disk has space for them. If they are missing, one caller provides them
// for all.
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
