package friends

// For tests.
const Tombstones = tombstones
