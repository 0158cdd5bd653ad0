package httpapi

import "fmt"

// invalidError comes when a request is not as the contract says. Sending it
// again unchanged is of no use.
type invalidError struct {
	Field  string // member of the body, query parameter, header or part of the path
	Reason string // follows the field in a sentence
}

func (e *invalidError) Error() string { return e.Field + " " + e.Reason }

func invalid(field, reason string) error { return &invalidError{field, reason} }

func invalidf(field, format string, args ...any) error {
	return &invalidError{field, fmt.Sprintf(format, args...)}
}

// tooLargeError comes when a request is over a limit of size.
type tooLargeError struct{ reason string }

func (e *tooLargeError) Error() string { return e.reason }
