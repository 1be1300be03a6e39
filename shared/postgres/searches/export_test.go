package searches

import "context"

// IndexConversation is for tests, of two who do it at once.
func (db *Store) IndexConversation(ctx context.Context, c string) (bool, error) {
	return db.indexConversation(ctx, c)
}
