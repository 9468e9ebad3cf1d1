// The two small programs that every pod of the test cluster needs: `pause`, which holds a pod's namespaces, and, when a container runtime
// starts it as a network plugin (CNI), the one that announces the pod's address and waits until its NetworkPolicies are in force.
//
// Without the second a pod's rules come a second after the pod: it fails closed meanwhile, and its first connection waits for a repeated packet.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	patience   = 10 * time.Second
	mostInput  = 1 << 20
	cniVersion = "1.0.0"
	failed     = 100 // the first code that CNI leaves to plugins
)

// configuration is the part of a plugin's input that is read; the result of the plugins before it is handed on untouched.
type configuration struct {
	Socket string          `json:"socket"`
	Before json.RawMessage `json:"prevResult"`
}

type result struct {
	IPs []struct {
		Address string `json:"address"`
	} `json:"ips"`
}

func main() {
	switch command := os.Getenv("CNI_COMMAND"); {
	case command != "":
		plugin(command)
	case len(os.Args) == 2 && os.Args[1] == "pause":
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
		<-ended
	default:
		fmt.Fprintln(os.Stderr, "usage: kubernetes-pod pause; or as a CNI plugin, with CNI_COMMAND")
		os.Exit(2)
	}
}

func plugin(command string) {
	switch command {
	case "VERSION":
		fmt.Printf(`{"cniVersion":%q,"supportedVersions":["0.4.0",%q]}`+"\n", cniVersion, cniVersion)
	case "ADD":
		before, err := announce(os.Stdin, os.Getenv("CNI_ARGS"))
		if err != nil {
			told, _ := json.Marshal(err.Error())
			fmt.Printf(`{"cniVersion":%q,"code":%d,"msg":%s}`+"\n", cniVersion, failed, told)
			os.Exit(1)
		}
		fmt.Println(string(before))
	}
	// DEL and CHECK: nothing is held for a pod here.
}

func announce(input io.Reader, arguments string) (json.RawMessage, error) {
	var read configuration
	if err := json.NewDecoder(io.LimitReader(input, mostInput)).Decode(&read); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	var given result
	if err := json.Unmarshal(read.Before, &given); err != nil || len(given.IPs) != 1 {
		return nil, fmt.Errorf("prevResult: one address is needed from the plugin before (%v)", err)
	}
	address, _, _ := strings.Cut(given.IPs[0].Address, "/")
	message, err := json.Marshal(map[string]string{"uid": argument(arguments, "K8S_POD_UID"), "ip": address})
	if err != nil {
		return nil, err
	}
	connection, err := net.DialTimeout("unix", read.Socket, patience)
	if err != nil {
		return nil, fmt.Errorf("no NetworkPolicy agent: %w", err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := connection.Write(append(message, '\n')); err != nil {
		return nil, fmt.Errorf("NetworkPolicy agent: %w", err)
	}
	word, err := bufio.NewReader(io.LimitReader(connection, mostInput)).ReadString('\n')
	if err != nil || word != "ok\n" {
		return nil, fmt.Errorf("NetworkPolicy agent: %q (%v)", word, err)
	}
	return read.Before, nil
}

func argument(arguments, name string) string {
	for _, each := range strings.Split(arguments, ";") {
		if key, value, found := strings.Cut(each, "="); found && key == name {
			return value
		}
	}
	return ""
}
