package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Identity is what a server says: who it is, and whom it sees.
type Identity struct {
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Node      string `json:"node"`
	// Client and ClientPort are the peer's address as it arrived here.
	Client     string `json:"client"`
	ClientPort int    `json:"clientPort"`
	// Address and Port are where it arrived.
	Address string `json:"address"`
	Port    int    `json:"port"`
	// Text is what a UDP client sent.
	Text string `json:"text,omitempty"`
}

func (identity Identity) short() string {
	return identity.Cluster + "/" + identity.Pod
}

func identify(local, remote net.Addr) Identity {
	self := Identity{
		Cluster:   os.Getenv("CLUSTER"),
		Namespace: os.Getenv("POD_NAMESPACE"),
		Pod:       os.Getenv("POD_NAME"),
		Node:      os.Getenv("NODE_NAME"),
	}
	if self.Pod == "" {
		self.Pod, _ = os.Hostname()
	}
	self.Client, self.ClientPort = split(remote)
	self.Address, self.Port = split(local)
	return self
}

func split(addr net.Addr) (string, int) {
	host, port, _ := net.SplitHostPort(addr.String())
	number, _ := strconv.Atoi(port)
	return host, number
}

// Whether probes are answered well; told over HTTP.
var unready atomic.Bool

func serveCommand(args []string) {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	tcp := flags.String("tcp", "8080", "ports that speak HTTP")
	udp := flags.String("udp", "8080", "ports that echo datagrams")
	flags.Parse(args)
	failed := make(chan error)
	for _, port := range ports(*tcp) {
		go func() { failed <- serveHTTP(port) }()
	}
	for _, port := range ports(*udp) {
		go func() { failed <- serveUDP(port) }()
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	select {
	case err := <-failed:
		fail(err.Error())
	case <-ended:
	}
}

func ports(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func serveHTTP(port string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		remote, err := net.ResolveTCPAddr("tcp", r.RemoteAddr)
		local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if err != nil || !ok {
			http.Error(w, "no address", http.StatusInternalServerError)
			return
		}
		answer(w, identify(local, remote))
	})
	mux.HandleFunc("/ready", ready)
	mux.HandleFunc("/bytes", sendBytes)
	mux.HandleFunc("/sink", sink)
	mux.HandleFunc("/lines", lines)
	mux.HandleFunc("/fetch", handleFetch)
	mux.HandleFunc("/dial", handleDial)
	mux.HandleFunc("/lookup", handleLookup)
	mux.HandleFunc("/loss/start", handleLossStart)
	mux.HandleFunc("/loss/state", handleLossState)
	mux.HandleFunc("/loss/stop", handleLossStop)
	return http.ListenAndServe(":"+port, mux)
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(value)
}

// ready answers probes; `?set=false` makes it answer badly from then on, `?set=true` well again.
func ready(w http.ResponseWriter, r *http.Request) {
	if set := r.FormValue("set"); set != "" {
		unready.Store(set == "false")
		answer(w, set)
		return
	}
	if unready.Load() {
		http.Error(w, "told to be unready", http.StatusServiceUnavailable)
		return
	}
	answer(w, "ready")
}

// lines takes the connection over: first who answers, then every line back as it came.
func lines(w http.ResponseWriter, r *http.Request) {
	connection, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer connection.Close()
	text, _ := json.Marshal(identify(connection.LocalAddr(), connection.RemoteAddr()))
	fmt.Fprintf(connection, "%s\n", text)
	for {
		line, err := buffered.ReadString('\n')
		if err != nil {
			return
		}
		if _, err := io.WriteString(connection, line); err != nil {
			return
		}
	}
}

func serveUDP(port string) error {
	// One socket per address, so that an answer leaves from the address that was asked.
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	failed := make(chan error)
	// Where pods are routed one by one, the node has one address on the ports of all of them.
	served := map[string]bool{}
	for _, address := range addresses {
		network, ok := address.(*net.IPNet)
		if !ok || network.IP.IsLinkLocalUnicast() || served[network.IP.String()] {
			continue
		}
		served[network.IP.String()] = true
		socket, err := net.ListenPacket("udp", net.JoinHostPort(network.IP.String(), port))
		if err != nil {
			return err
		}
		go func() { failed <- echo(socket) }()
	}
	return <-failed
}

func echo(socket net.PacketConn) error {
	buffer := make([]byte, 65536)
	for {
		count, remote, err := socket.ReadFrom(buffer)
		if err != nil {
			return err
		}
		self := identify(socket.LocalAddr(), remote)
		self.Text = string(buffer[:count])
		text, _ := json.Marshal(self)
		socket.WriteTo(text, remote)
	}
}

func duration(text string, otherwise time.Duration) time.Duration {
	if value, err := time.ParseDuration(text); err == nil {
		return value
	}
	return otherwise
}
