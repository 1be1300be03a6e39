package group

// A page says how many to return, and from where on.
type page struct {
	Limit  int    `json:"limit"`
	Cursor string `json:"cursor"`
}

// cut returns at most limit of list, of which one more than that was asked for,
// and the last of them if others follow.
func cut[T any](list []T, limit int) (page []T, last *T) {
	if len(list) <= limit {
		return list, nil
	}
	return list[:limit], &list[limit-1]
}
