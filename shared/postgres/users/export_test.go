package users

// For tests.
const MaxUsed = maxUsed
