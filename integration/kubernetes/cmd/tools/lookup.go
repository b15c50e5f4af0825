package main

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Lookup is one question, asked as it is: no search list.
type Lookup struct {
	Name    string
	Type    string
	Server  string
	TCP     bool
	Timeout time.Duration
}

// Found is what a DNS server answered.
type Found struct {
	// Code is the response's: NOERROR, NXDOMAIN, SERVFAIL; empty when nothing came.
	Code    string   `json:"code"`
	Records []Record `json:"records"`
	// Additional are the records beside the answer.
	Additional []Record `json:"additional"`
	Error      string   `json:"error,omitempty"`
}

// Record is one record, its data as in a zone file.
type Record struct {
	Name string `json:"name"`
	Type string `json:"type"`
	TTL  uint32 `json:"ttl"`
	Data string `json:"data"`
}

func (lookup Lookup) run() Found {
	if lookup.Type == "" {
		lookup.Type = "A"
	}
	kind, ok := dns.StringToType[strings.ToUpper(lookup.Type)]
	if !ok {
		return Found{Error: fmt.Sprintf("%q is no type of a record", lookup.Type)}
	}
	server := lookup.Server
	if server == "" {
		config, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil || len(config.Servers) == 0 {
			return Found{Error: "no name server in /etc/resolv.conf"}
		}
		server = net.JoinHostPort(config.Servers[0], config.Port)
	}
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(lookup.Name), kind)
	question.SetEdns0(1232, false)
	client := dns.Client{Timeout: lookup.Timeout, Net: "udp"}
	if lookup.TCP {
		client.Net = "tcp"
	}
	response, _, err := client.Exchange(question, server)
	if err == nil && response.Truncated && !lookup.TCP {
		client.Net = "tcp"
		response, _, err = client.Exchange(question, server)
	}
	if err != nil {
		return Found{Records: []Record{}, Additional: []Record{}, Error: err.Error()}
	}
	return Found{
		Code:       dns.RcodeToString[response.Rcode],
		Records:    records(response.Answer),
		Additional: records(response.Extra),
	}
}

func records(all []dns.RR) []Record {
	shown := make([]Record, 0, len(all))
	for _, record := range all {
		head := record.Header()
		if head.Rrtype == dns.TypeOPT {
			continue
		}
		shown = append(shown, Record{
			Name: head.Name,
			Type: dns.TypeToString[head.Rrtype],
			TTL:  head.Ttl,
			Data: strings.TrimPrefix(record.String(), head.String()),
		})
	}
	return shown
}

func handleLookup(w http.ResponseWriter, r *http.Request) {
	answer(w, Lookup{
		Name:    r.FormValue("name"),
		Type:    r.FormValue("type"),
		Server:  r.FormValue("server"),
		TCP:     r.FormValue("tcp") == "true",
		Timeout: duration(r.FormValue("timeout"), 2*time.Second),
	}.run())
}
