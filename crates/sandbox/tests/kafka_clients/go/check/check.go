// Package check is what the clients beside it share.
package check

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"
)

// Address is where the broker listens.
var Address string

var deadline = time.Now().Add(50 * time.Second)

// Main runs the check that the first argument names, against the broker at the second.
func Main(checks map[string]func(context.Context)) {
	check, known := checks[os.Args[1]]
	if !known {
		panic(fmt.Sprintf("there is no check %q", os.Args[1]))
	}
	Address = os.Args[2]
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	check(ctx)
}

// Ok expects that something went well.
func Ok(err error) {
	if err != nil {
		panic(err)
	}
}

// Must expects that something went well, and returns what came of it.
func Must[T any](value T, err error) T {
	Ok(err)
	return value
}

// Equal expects two values to be the same.
func Equal[T any](found, expected T) {
	if !reflect.DeepEqual(found, expected) {
		panic(fmt.Sprintf("%v is not %v", found, expected))
	}
}

// That expects a condition to hold.
func That(holds bool, what any) {
	if !holds {
		panic(fmt.Sprint(what))
	}
}

// Fails expects one of some errors.
func Fails(found error, expected ...error) {
	for _, one := range expected {
		if errors.Is(found, one) {
			return
		}
	}
	panic(fmt.Sprintf("%v is none of %v", found, expected))
}

// Until makes attempts, which themselves wait for a moment, until one succeeds.
func Until(attempt func() bool, what string) {
	for !attempt() {
		That(time.Now().Before(deadline), "waited in vain: "+what)
	}
}
