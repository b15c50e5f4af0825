package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Dial asks a server who it is, each time over a new connection or socket.
type Dial struct {
	Proto   string
	To      string
	Count   int
	Timeout time.Duration
}

// Answer is one server's answer, or why there was none.
type Answer struct {
	Identity *Identity `json:"identity,omitempty"`
	Error    string    `json:"error,omitempty"`
	// Kind of the error: refused, timeout, name, other.
	Kind   string  `json:"kind,omitempty"`
	Millis float64 `json:"millis"`
}

func (dial Dial) run() []Answer {
	answers := make([]Answer, 0, dial.Count)
	for range dial.Count {
		answers = append(answers, dial.once())
	}
	return answers
}

func (dial Dial) once() Answer {
	start := time.Now()
	identity, err := dial.ask()
	answer := Answer{Identity: identity, Millis: float64(time.Since(start).Microseconds()) / 1000}
	if err != nil {
		answer.Identity = nil
		answer.Error = err.Error()
		answer.Kind = kind(err)
	}
	return answer
}

func (dial Dial) ask() (*Identity, error) {
	connection, err := net.DialTimeout(dial.Proto, dial.To, dial.Timeout)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(dial.Timeout))
	identity := &Identity{}
	if dial.Proto == "udp" {
		if _, err := connection.Write([]byte("hello")); err != nil {
			return nil, err
		}
		buffer := make([]byte, 65536)
		count, err := connection.Read(buffer)
		if err != nil {
			return nil, err
		}
		return identity, json.Unmarshal(buffer[:count], identity)
	}
	fmt.Fprintf(connection, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", dial.To)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return identity, json.NewDecoder(response.Body).Decode(identity)
}

func kind(err error) string {
	var name *net.DNSError
	switch {
	case errors.As(err, &name):
		return "name"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	}
	return "other"
}

func handleDial(w http.ResponseWriter, r *http.Request) {
	dial := Dial{Proto: r.FormValue("proto"), To: r.FormValue("to"), Count: 1}
	if dial.Proto == "" {
		dial.Proto = "tcp"
	}
	if count, err := strconv.Atoi(r.FormValue("count")); err == nil {
		dial.Count = count
	}
	dial.Timeout = duration(r.FormValue("timeout"), time.Second)
	answer(w, dial.run())
}
