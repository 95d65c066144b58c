package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// frames sends what the test has signed in every wrong way, requests of every kind,
// changed bytes and random ones, and file descriptors along with them.
func frames(socket, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.frame"))
	must(err)
	var real [][]byte
	current := ""
	for _, file := range files {
		data, err := os.ReadFile(file)
		must(err)
		real = append(real, data)
		for range 2 {
			got := patiently(socket, data)
			fmt.Println(filepath.Base(file)+":", got)
			if filepath.Base(file) == "current.frame" {
				current = got
			}
		}
	}
	for name, request := range adversarial() {
		got := patiently(socket, encode(request))
		fmt.Println(name+":", got)
		if (name == "abort" || name == "submit_local") && !strings.Contains(got, "FORBIDDEN") {
			breach("%s: %s", name, got)
		}
	}
	for _, header := range [][]byte{{255, 255, 255, 255}, {0, 8, 0, 1}, {128, 0, 0, 0}} {
		fmt.Println("huge:", patiently(socket, header))
	}
	mutated(socket, current, real)
	descriptors(socket, real[0])
}

// patiently asks again while the door is busy.
func patiently(socket string, data []byte) string {
	for end := time.Now().Add(20 * time.Second); ; {
		got := raw(socket, data)
		if !strings.Contains(got, "REASON_BUSY") || time.Now().After(end) {
			return got
		}
		time.Sleep(60 * time.Millisecond)
	}
}

// adversarial is a request of every kind with the worst that fits into it.
func adversarial() map[string]*agentv1.DoorRequest {
	evil := &agentv1.NodeSpec{
		ClusterName: "x\n[Service]\nExecStart=/bin/sh", KubernetesVersion: "../../../../bin/sh", KubeletFlags: []string{"--config=/etc/shadow", "; rm -rf /"},
		ContainerdConfig: "imports = [\"/etc/shadow\"]", Nodeadm: &agentv1.NodeadmSource{Url: "file:///etc/shadow", Sha256: strings.Repeat("0", 64)},
		OsImage: &agentv1.OSImage{Uri: "--privileged"},
	}
	forecast := func(node *agentv1.NodeSpec) *agentv1.DoorRequest {
		return &agentv1.DoorRequest{Request: &agentv1.DoorRequest_Forecast{Forecast: &agentv1.ForecastRequest{
			Kind: agentv1.OperationKind_OPERATION_KIND_REPAVE, Node: node, NodeDigest: strings.Repeat("ab", 32), NodeIp: "127.0.0.1"}}}
	}
	honest := &agentv1.NodeSpec{ClusterName: "$(touch /etc/pwned)", Region: "`id`", KubernetesVersion: "1.31.5", KubeletConfigJson: []byte(`{"staticPodPath":"/root"}`)}
	return map[string]*agentv1.DoorRequest{
		"abort":           {Request: &agentv1.DoorRequest_Abort{Abort: &agentv1.AbortRequest{}}},
		"submit_local":    {Request: &agentv1.DoorRequest_SubmitLocal{SubmitLocal: &agentv1.SubmitLocalRequest{Kind: agentv1.OperationKind_OPERATION_KIND_LEAVE, Force: true}}},
		"follow":          {Request: &agentv1.DoorRequest_Follow{Follow: &agentv1.FollowRequest{OperationId: "../../../../etc/shadow"}}},
		"certificate":     {Request: &agentv1.DoorRequest_InstallNodeCertificate{InstallNodeCertificate: &agentv1.InstallNodeCertificateRequest{Certificate: make([]byte, 8<<10)}}},
		"forecast":        forecast(evil),
		"forecast, plain": forecast(honest),
		"labels":          {Request: &agentv1.DoorRequest_SetNodeLabels{SetNodeLabels: &agentv1.SetNodeLabelsRequest{Labels: map[string]string{"node-role.kubernetes.io/../x": "y"}}}},
		"labels, plain":   {Request: &agentv1.DoorRequest_SetNodeLabels{SetNodeLabels: &agentv1.SetNodeLabelsRequest{Labels: map[string]string{"a": "b"}}}},
		"nudge":           {Request: &agentv1.DoorRequest_NudgeSsmAgent{NudgeSsmAgent: &agentv1.NudgeSSMAgentRequest{}}},
		"state":           {Request: &agentv1.DoorRequest_ReadNodeState{ReadNodeState: &agentv1.ReadNodeStateRequest{}}},
		"unsigned": {Request: &agentv1.DoorRequest_Submit{Submit: &agentv1.SignedOperation{
			Operation: []byte("rm -rf /"), Signature: make([]byte, 64), Context: agentv1.OperationContext, Chain: [][]byte{{1}, {2}}}}},
	}
}

// mutated sends frames with bits changed, parts cut out, and random bytes, as many
// as the door takes in some seconds.
func mutated(socket, current string, real [][]byte) {
	random := rand.New(rand.NewPCG(1, 2))
	counts := map[string]int{}
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); {
		data := append([]byte{}, real[random.IntN(len(real))]...)
		switch random.IntN(4) {
		case 0:
			data[4+random.IntN(len(data)-4)] ^= 1 << random.IntN(8)
		case 1:
			data = data[:4+random.IntN(len(data)-4)]
			copy(data, []byte{0, 0, byte((len(data) - 4) >> 8), byte(len(data) - 4)})
		case 2:
			for range 20 {
				data[4+random.IntN(len(data)-4)] = byte(random.Uint32())
			}
		default:
			data = make([]byte, 4+random.IntN(2000))
			for i := range data {
				data[i] = byte(random.Uint32())
			}
			copy(data, []byte{0, 0, byte((len(data) - 4) >> 8), byte(len(data) - 4)})
		}
		got := raw(socket, data)
		if len(got) > 48 {
			got = got[:48]
		}
		counts[got]++
		time.Sleep(20 * time.Millisecond)
	}
	for what, count := range counts {
		fmt.Println("changed bytes:", count, what)
		// What the CA's certificate says of itself is not looked at, only its key: with
		// that changed, the plane's current operation is still the plane's.
		if strings.HasPrefix(what, "progress") && !strings.HasPrefix(current, what) {
			breach("changed bytes were taken: %s", what)
		}
	}
}

// descriptors sends open files along with a frame: they must not stay with root.
func descriptors(socket string, data []byte) {
	var files []int
	for range 200 {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
		must(err)
		files = append(files, fd)
	}
	for range 20 {
		time.Sleep(100 * time.Millisecond) // the door refuses what comes too often unread
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
		must(err)
		_, _, err = conn.WriteMsgUnix(data, unix.UnixRights(files...), nil)
		fmt.Println("descriptors:", err, answer(conn))
		_ = conn.Close()
	}
}
