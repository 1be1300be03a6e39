package group

// A page says how many to return, and from where on.
type page struct {
	Limit  int    `json:"limit"`
	Cursor string `json:"cursor"`
}
