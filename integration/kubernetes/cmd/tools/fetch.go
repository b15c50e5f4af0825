package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// pattern is bytes that tell their place, so that one that is lost, doubled or moved shows.
type pattern struct{ at int64 }

func (p *pattern) Read(buffer []byte) (int, error) {
	for i := range buffer {
		buffer[i] = byte(p.at ^ p.at>>8 ^ p.at>>16)
		p.at++
	}
	return len(buffer), nil
}

// taken is what came: how much, and its digest.
type taken struct {
	Count  int64  `json:"count"`
	Sha256 string `json:"sha256"`
}

func take(from io.Reader) (taken, error) {
	digest := sha256.New()
	count, err := io.Copy(digest, from)
	return taken{Count: count, Sha256: hex.EncodeToString(digest.Sum(nil))}, err
}

func wanted(count int64) taken {
	all, _ := take(io.LimitReader(&pattern{}, count))
	return all
}

// sendBytes sends `?count=N` bytes.
func sendBytes(w http.ResponseWriter, r *http.Request) {
	count, _ := strconv.ParseInt(r.FormValue("count"), 10, 64)
	w.Header().Set("Content-Length", strconv.FormatInt(count, 10))
	io.CopyN(w, &pattern{}, count)
}

// sink says what it is sent.
func sink(w http.ResponseWriter, r *http.Request) {
	all, err := take(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer(w, all)
}

// Fetched says whether all came as it was sent.
type Fetched struct {
	Down  bool   `json:"down"`
	Up    bool   `json:"up"`
	Error string `json:"error,omitempty"`
}

func fetch(client *http.Client, to string, down, up int64) (fetched Fetched, err error) {
	got, err := client.Get(fmt.Sprintf("http://%s/bytes?count=%d", to, down))
	if err != nil {
		return fetched, err
	}
	defer got.Body.Close()
	all, err := take(got.Body)
	if err != nil {
		return fetched, err
	}
	fetched.Down = all == wanted(down)
	body := io.LimitReader(&pattern{}, up)
	sent, err := client.Post(fmt.Sprintf("http://%s/sink", to), "application/octet-stream", body)
	if err != nil {
		return fetched, err
	}
	defer sent.Body.Close()
	var there taken
	if err := json.NewDecoder(sent.Body).Decode(&there); err != nil {
		return fetched, err
	}
	fetched.Up = there == wanted(up)
	return fetched, nil
}

func handleFetch(w http.ResponseWriter, r *http.Request) {
	number := func(key string) int64 {
		value, _ := strconv.ParseInt(r.FormValue(key), 10, 64)
		return value
	}
	client := &http.Client{Timeout: duration(r.FormValue("timeout"), 10*time.Second)}
	fetched, err := fetch(client, r.FormValue("to"), number("down"), number("up"))
	if err != nil {
		fetched.Error = err.Error()
	}
	answer(w, fetched)
}
