package session

import (
	"sync"

	"google.golang.org/protobuf/proto"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// maxOperations is how many operations' progress is kept for a new stream.
const maxOperations = 4

// Outbox holds the latest of everything the plane should know. A newer value
// replaces one that was not sent yet; a new stream sends all of it again. It is
// safe for concurrent use.
type Outbox struct {
	mu         sync.Mutex
	wake       chan struct{}
	result     *agentv1.AssignmentResult
	inventory  slot[*agentv1.Inventory]
	status     slot[*agentv1.HostStatus]
	operations []slot[*agentv1.OperationProgress]
	nodeCSR    slot[[]byte]
}

type slot[T any] struct {
	value T
	dirty bool
}

// NewOutbox returns an empty outbox.
func NewOutbox() *Outbox { return &Outbox{wake: make(chan struct{}, 1)} }

func (o *Outbox) update(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// SetInventory replaces the inventory; an equal one is not sent again.
func (o *Outbox) SetInventory(inv *agentv1.Inventory) {
	o.update(func() {
		if !proto.Equal(inv, o.inventory.value) {
			o.inventory = slot[*agentv1.Inventory]{inv, true}
		}
	})
}

// SetStatus replaces the host's state; an equal one is not sent again.
func (o *Outbox) SetStatus(status *agentv1.HostStatus) {
	o.update(func() {
		if !proto.Equal(status, o.status.value) {
			o.status = slot[*agentv1.HostStatus]{status, true}
		}
	})
}

// SetOperation replaces the progress of one operation.
func (o *Outbox) SetOperation(progress *agentv1.OperationProgress) {
	o.update(func() {
		for i := range o.operations {
			if o.operations[i].value.GetOperationId() == progress.GetOperationId() {
				o.operations[i] = slot[*agentv1.OperationProgress]{progress, true}
				return
			}
		}
		o.operations = append(o.operations, slot[*agentv1.OperationProgress]{progress, true})
		if len(o.operations) > maxOperations {
			o.operations = o.operations[1:]
		}
	})
}

// RequestNodeCertificate asks the plane to sign the node's key, on every stream
// until nil takes the request back.
func (o *Outbox) RequestNodeCertificate(csr []byte) {
	o.update(func() { o.nodeCSR = slot[[]byte]{csr, csr != nil} })
}

// SetResult replaces the answer to the latest assignment; it belongs to the stream
// that is open.
func (o *Outbox) SetResult(result *agentv1.AssignmentResult) {
	o.update(func() { o.result = result })
}

// restart makes everything due again, for a new stream.
func (o *Outbox) restart() {
	o.update(func() {
		// The plane compares hello with what it wants and asks again.
		o.result = nil
		o.inventory.dirty = o.inventory.value != nil
		o.status.dirty = o.status.value != nil
		o.nodeCSR.dirty = o.nodeCSR.value != nil
		for i := range o.operations {
			o.operations[i].dirty = true
		}
	})
}

// next takes one message that is due; nil where there is none.
func (o *Outbox) next() *agentv1.AgentMessage {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.result != nil:
		result := o.result
		o.result = nil
		return &agentv1.AgentMessage{Message: &agentv1.AgentMessage_AssignmentResult{AssignmentResult: result}}
	case o.inventory.dirty:
		o.inventory.dirty = false
		return &agentv1.AgentMessage{Message: &agentv1.AgentMessage_Inventory{Inventory: o.inventory.value}}
	case o.status.dirty:
		o.status.dirty = false
		return &agentv1.AgentMessage{Message: &agentv1.AgentMessage_Status{Status: o.status.value}}
	case o.nodeCSR.dirty:
		o.nodeCSR.dirty = false
		request := &agentv1.NodeCertificateRequest{Csr: o.nodeCSR.value}
		return &agentv1.AgentMessage{Message: &agentv1.AgentMessage_NodeCertificateRequest{NodeCertificateRequest: request}}
	}
	for i := range o.operations {
		if o.operations[i].dirty {
			o.operations[i].dirty = false
			return &agentv1.AgentMessage{Message: &agentv1.AgentMessage_Operation{Operation: o.operations[i].value}}
		}
	}
	return nil
}
