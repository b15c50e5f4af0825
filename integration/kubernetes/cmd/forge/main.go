// Command forge makes what the clusters of the end-to-end tests need and no component brings:
// certificates (`forge pki`) and container images (`forge image`).
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("forge pki | image"))
	}
	var err error
	switch os.Args[1] {
	case "pki":
		err = pki(os.Args[2:])
	case "image":
		err = image(os.Args[2:])
	default:
		err = fmt.Errorf("%q is nothing that forge makes", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "forge:", err)
	os.Exit(1)
}
