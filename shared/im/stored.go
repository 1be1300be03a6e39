package im

// A StoredFile is a File as it is kept.
type StoredFile struct {
	File
	Owner    string
	Upload   string // of a pending one that is sent in parts: the id of the upload in the store
	PartSize int64  // 0: it is sent whole
	Expires  Time   // until when a pending one may be completed
}

// An Object is what the object store says of what it keeps under a key.
type Object struct {
	Key    string
	Size   int64
	ETag   string // of these bytes: others under the same key have another
	SHA256 []byte // of all its bytes, which the store has checked; nil if it did not
}

// An Upload is one in parts that was begun, and neither completed nor ended.
type Upload struct{ Key, ID string }
