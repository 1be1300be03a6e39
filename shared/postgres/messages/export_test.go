package messages

// For tests, which ask PostgreSQL how it runs them.
const LockMessage = lockMessage

var HistoryQuery = historyQuery
