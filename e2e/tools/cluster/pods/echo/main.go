// Answers every HTTP request with what arrived, as JSON: the far end in tests of routes.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
)

func main() {
	address := ":8080"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	pod, _ := os.Hostname()
	log.Printf("listening on %s", address)
	log.Fatal(http.ListenAndServe(address, http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		log.Printf("%s %s", request.Method, request.URL.Path)
		answer.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(answer).Encode(map[string]any{
			"pod":     pod,
			"method":  request.Method,
			"host":    request.Host,
			"path":    request.URL.RequestURI(),
			"headers": request.Header,
			"peer":    request.RemoteAddr,
		})
	})))
}
