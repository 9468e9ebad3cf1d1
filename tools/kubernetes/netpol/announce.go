package netpol

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	announceSeconds = 5 * time.Second
	announceAgain   = 10 * time.Millisecond
)

// announcement is what the network plugin sends for a pod that it has just given an address, before anything of the pod runs.
// The answer is one line: `ok` once the pod's rules are in force, else why not; then the plugin fails and the kubelet tries again.
type announcement struct {
	UID types.UID `json:"uid"`
	IP  string    `json:"ip"`
}

func (a *agent) listen(socket string) error {
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("netpol: %w", err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("netpol: %w", err)
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				log.Fatalf("netpol: accept: %v", err)
			}
			go a.answer(connection)
		}
	}()
	return nil
}

func (a *agent) answer(connection net.Conn) {
	defer connection.Close()
	deadline := time.Now().Add(announceSeconds)
	connection.SetDeadline(deadline.Add(time.Second))
	var one announcement
	word := "ok"
	if err := json.NewDecoder(connection).Decode(&one); err != nil {
		word = err.Error()
	} else if err := a.cover(one, deadline); err != nil {
		word = err.Error()
	}
	fmt.Fprintln(connection, word)
}

// cover returns when the announced pod is in the table, or with an error at the deadline: the watch may be behind the kubelet.
func (a *agent) cover(one announcement, deadline time.Time) error {
	if net.ParseIP(one.IP).To4() == nil || one.UID == "" {
		return fmt.Errorf("not an announcement of an IPv4 pod: %+v", one)
	}
	a.lock.Lock()
	a.announced[one.UID] = announced{one.IP, time.Now()}
	a.lock.Unlock()
	for {
		covered, err := a.sync()
		if err == nil && covered[one.UID] {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("pod %s at %s is not programmed after %v (last error: %v)", one.UID, one.IP, announceSeconds, err)
		}
		time.Sleep(announceAgain)
	}
}
