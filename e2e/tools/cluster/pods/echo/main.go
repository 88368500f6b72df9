// Answers every HTTP request with what arrived, as JSON: the far end in tests of routes. A request for
// /fetch?url=… is made from inside the pod instead, and its answer passed on.
package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	address := ":8080"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	log.Printf("listening on %s", address)
	http.HandleFunc("/fetch", fetch)
	http.HandleFunc("/", echo)
	log.Fatal(http.ListenAndServe(address, nil))
}

func echo(answer http.ResponseWriter, request *http.Request) {
	log.Printf("%s %s", request.Method, request.URL.Path)
	pod, _ := os.Hostname()
	answer.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(answer).Encode(map[string]any{
		"pod":     pod,
		"method":  request.Method,
		"host":    request.Host,
		"path":    request.URL.RequestURI(),
		"headers": request.Header,
		"peer":    request.RemoteAddr,
	})
}

func fetch(answer http.ResponseWriter, request *http.Request) {
	client := http.Client{Timeout: 5 * time.Second}
	found, err := client.Get(request.URL.Query().Get("url"))
	if err != nil {
		http.Error(answer, err.Error(), http.StatusBadGateway)
		return
	}
	defer found.Body.Close()
	answer.WriteHeader(found.StatusCode)
	_, _ = io.Copy(answer, found.Body)
}
