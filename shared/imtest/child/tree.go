package child

// Tree returns pid and its descendants, parents before children.
func Tree(pid int) []int {
	of := parents()
	pids := []int{pid}
	for i := 0; i < len(pids); i++ {
		for child, parent := range of {
			if parent == pids[i] {
				pids = append(pids, child)
			}
		}
	}
	return pids
}
