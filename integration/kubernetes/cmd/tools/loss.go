package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The longest that one request may take before it counts as lost, beside the look-up of its name. TCP sends again what
// was lost meanwhile; a datagram that was lost stays lost.
const lossLimit = 5 * time.Second

// Count is what a client that asks again and again has seen.
type Count struct {
	Sent     int `json:"sent"`
	Answered int `json:"answered"`
	Failed   int `json:"failed"`
	// LongestMillis is the longest time between two answers.
	LongestMillis float64 `json:"longestMillis"`
	// Pods counts the answers of each server, by cluster/pod.
	Pods map[string]int `json:"pods"`
	// Errors are the first few.
	Errors []string `json:"errors"`
}

// Loss asks until it is told to finish.
type Loss struct {
	stop  chan struct{}
	done  chan struct{}
	mode  string
	to    string
	every time.Duration
	// Guards what follows.
	lock  sync.Mutex
	count Count
	last  time.Time
	held  *line
}

// line is one held connection whose far end sends every line back.
type line struct {
	connection net.Conn
	reader     *bufio.Reader
	pod        string
	part       string
}

func startLoss(mode, to string, every time.Duration) (*Loss, error) {
	loss := &Loss{
		stop: make(chan struct{}), done: make(chan struct{}),
		mode: mode, to: to, every: every,
		count: Count{Pods: map[string]int{}, Errors: []string{}},
		last:  time.Now(),
	}
	switch mode {
	case "connect", "udp":
	case "hold":
		if err := loss.hold(); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("%q is no mode: connect, hold, udp", mode)
	}
	go loss.run()
	return loss, nil
}

func (loss *Loss) hold() error {
	to, err := address(loss.to)
	if err != nil {
		return err
	}
	connection, err := net.DialTimeout("tcp", to, lossLimit)
	if err != nil {
		return err
	}
	connection.SetDeadline(time.Now().Add(lossLimit))
	fmt.Fprintf(connection, "GET /lines HTTP/1.1\r\nHost: %s\r\n\r\n", loss.to)
	reader := bufio.NewReader(connection)
	text, err := reader.ReadBytes('\n')
	var identity Identity
	if err == nil {
		err = json.Unmarshal(text, &identity)
	}
	if err != nil {
		connection.Close()
		return err
	}
	loss.held = &line{connection: connection, reader: reader, pod: identity.short()}
	return nil
}

// address looks the name of `HOST:PORT` up, each time anew, with the patience that resolvers have. The name is whole: to
// go through the search list would be five times the questions, and so many from one pod that their ports come round
// while entries of the node's connection tracking still lead to a name server that is gone.
func address(to string) (string, error) {
	host, port, err := net.SplitHostPort(to)
	if err != nil || net.ParseIP(host) != nil {
		return to, err
	}
	found, err := net.LookupHost(host + ".")
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(found[0], port), nil
}

func (loss *Loss) run() {
	defer close(loss.done)
	ticks := time.NewTicker(loss.every)
	defer ticks.Stop()
	for {
		select {
		case <-loss.stop:
			return
		case <-ticks.C:
			loss.one()
		}
	}
}

func (loss *Loss) one() {
	loss.lock.Lock()
	loss.count.Sent++
	number := loss.count.Sent
	loss.lock.Unlock()
	pod, err := loss.ask(number)
	loss.lock.Lock()
	defer loss.lock.Unlock()
	if err != nil {
		loss.count.Failed++
		if len(loss.count.Errors) < 5 {
			loss.count.Errors = append(loss.count.Errors, err.Error())
		}
		return
	}
	loss.count.Answered++
	loss.count.Pods[pod]++
	loss.gap()
}

// gap ends the time since the last answer.
func (loss *Loss) gap() {
	now := time.Now()
	gap := float64(now.Sub(loss.last).Microseconds()) / 1000
	loss.count.LongestMillis = max(loss.count.LongestMillis, gap)
	loss.last = now
}

// seen is what it has seen so far.
func (loss *Loss) seen() Count {
	loss.lock.Lock()
	defer loss.lock.Unlock()
	count := loss.count
	count.Pods = maps.Clone(count.Pods)
	count.Errors = slices.Clone(count.Errors)
	return count
}

func (loss *Loss) ask(number int) (string, error) {
	if loss.mode == "hold" {
		return loss.held.pod, loss.held.send(number)
	}
	proto := "tcp"
	if loss.mode == "udp" {
		proto = "udp"
	}
	to, err := address(loss.to)
	if err != nil {
		return "", err
	}
	identity, err := Dial{Proto: proto, To: to, Timeout: lossLimit}.ask()
	if err != nil {
		return "", err
	}
	return identity.short(), nil
}

func (held *line) send(number int) error {
	held.connection.SetDeadline(time.Now().Add(lossLimit))
	sent := fmt.Sprint(number)
	if _, err := fmt.Fprintln(held.connection, sent); err != nil {
		return err
	}
	for {
		got, err := held.next()
		if err != nil || got == sent {
			return err
		}
		// The answer to one that was given up before.
		if late, err := strconv.Atoi(got); err != nil || late > number {
			return fmt.Errorf("sent %s, got %s", sent, got)
		}
	}
}

// next is the next line, what came of it before the last deadline included.
func (held *line) next() (string, error) {
	part, err := held.reader.ReadString('\n')
	held.part += part
	if err != nil {
		return "", err
	}
	whole := strings.TrimSpace(held.part)
	held.part = ""
	return whole, nil
}

func (loss *Loss) finish() Count {
	close(loss.stop)
	<-loss.done
	loss.lock.Lock()
	loss.gap()
	loss.lock.Unlock()
	if loss.held != nil {
		loss.held.connection.Close()
	}
	return loss.seen()
}

var losses = struct {
	sync.Mutex
	byName map[string]*Loss
}{byName: map[string]*Loss{}}

// handleLossStart starts one under a name: `?id=x&mode=connect&to=HOST:PORT&every=20ms`.
func handleLossStart(w http.ResponseWriter, r *http.Request) {
	losses.Lock()
	defer losses.Unlock()
	name := r.FormValue("id")
	if _, taken := losses.byName[name]; taken {
		http.Error(w, "one of that name runs", http.StatusConflict)
		return
	}
	every := duration(r.FormValue("every"), 20*time.Millisecond)
	loss, err := startLoss(r.FormValue("mode"), r.FormValue("to"), every)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	losses.byName[name] = loss
	answer(w, "started")
}

// handleLossStop ends the one of that name and tells what it saw.
func handleLossStop(w http.ResponseWriter, r *http.Request) {
	losses.Lock()
	loss, ok := losses.byName[r.FormValue("id")]
	delete(losses.byName, r.FormValue("id"))
	losses.Unlock()
	if !ok {
		http.Error(w, "none of that name runs", http.StatusNotFound)
		return
	}
	answer(w, loss.finish())
}

// handleLossState tells what the one of that name has seen so far.
func handleLossState(w http.ResponseWriter, r *http.Request) {
	losses.Lock()
	loss, ok := losses.byName[r.FormValue("id")]
	losses.Unlock()
	if !ok {
		http.Error(w, "none of that name runs", http.StatusNotFound)
		return
	}
	answer(w, loss.seen())
}
