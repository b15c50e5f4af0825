// Command tools is what pods of the end-to-end tests run: servers that say who they are and whom they
// see, and clients that say what they were answered. Everything it prints is JSON.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const usage = `tools serve  [--tcp PORT,..] [--udp PORT,..]       say who answers; also a client driven over HTTP
tools dial   [--proto tcp|udp] [--count N] [--timeout 1s] HOST:PORT
tools lookup [--server HOST:PORT] [--tcp] NAME [A|AAAA|SRV|TXT|PTR]
tools loss   [--mode connect|hold|udp] [--every 20ms] [--for 5s] HOST:PORT
tools pause                                         do nothing until told to end`

func main() {
	if len(os.Args) < 2 {
		fail(usage)
	}
	args := os.Args[2:]
	switch os.Args[1] {
	case "serve":
		serveCommand(args)
	case "dial":
		dialCommand(args)
	case "lookup":
		lookupCommand(args)
	case "loss":
		lossCommand(args)
	case "pause":
		pause()
	default:
		fail(usage)
	}
}

// pause holds a pod's namespaces open and reaps what is left to it, as the first process of a pod must.
func pause() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != nil || pid <= 0 {
				break
			}
		}
	}
}

func dialCommand(args []string) {
	flags := flag.NewFlagSet("dial", flag.ExitOnError)
	dial := Dial{}
	flags.StringVar(&dial.Proto, "proto", "tcp", "tcp or udp")
	flags.IntVar(&dial.Count, "count", 1, "how many times")
	flags.DurationVar(&dial.Timeout, "timeout", time.Second, "of each")
	dial.To = only(flags, args)
	answers := dial.run()
	show(answers)
	for _, answer := range answers {
		if answer.Error != "" {
			os.Exit(1)
		}
	}
}

func lookupCommand(args []string) {
	flags := flag.NewFlagSet("lookup", flag.ExitOnError)
	lookup := Lookup{Timeout: 2 * time.Second}
	flags.StringVar(&lookup.Server, "server", "", "HOST:PORT; the pod's own by default")
	flags.BoolVar(&lookup.TCP, "tcp", false, "ask over TCP")
	flags.Parse(args)
	lookup.Name = flags.Arg(0)
	lookup.Type = flags.Arg(1)
	found := lookup.run()
	show(found)
	if found.Error != "" || found.Code != "NOERROR" {
		os.Exit(1)
	}
}

func lossCommand(args []string) {
	flags := flag.NewFlagSet("loss", flag.ExitOnError)
	var mode string
	var every, length time.Duration
	flags.StringVar(&mode, "mode", "connect", "connect, hold or udp")
	flags.DurationVar(&every, "every", 20*time.Millisecond, "between two requests")
	flags.DurationVar(&length, "for", 5*time.Second, "how long")
	to := only(flags, args)
	loss, err := startLoss(mode, to, every)
	if err != nil {
		fail(err.Error())
	}
	time.Sleep(length)
	count := loss.finish()
	show(count)
	if count.Failed > 0 {
		os.Exit(1)
	}
}

func only(flags *flag.FlagSet, args []string) string {
	flags.Parse(args)
	if flags.NArg() != 1 || !strings.Contains(flags.Arg(0), ":") {
		fail(usage)
	}
	return flags.Arg(0)
}

func show(value any) {
	if err := json.NewEncoder(os.Stdout).Encode(value); err != nil {
		fail(err.Error())
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(2)
}
