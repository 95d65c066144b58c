package agent

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// settleOperation remembers which assignment the node was made from, once root
// says that its node part is applied; c.mu is held.
func (c *core) settleOperation() {
	f := &c.facts
	c.settleLeave()
	applied := f.node.state.GetAppliedNodeDigest()
	if applied == "" || f.provisioned != nil && f.provisioned.msg.GetNodeDigest() == applied {
		return
	}
	for _, a := range []*assignment{f.pending, f.assignment} {
		if a == nil || a.msg.GetNodeDigest() != applied {
			continue
		}
		if err := c.cache.save(ProvisionedFile, a); err != nil {
			c.log.Error("cannot remember the network that the node was provisioned with", zap.Error(err))
			return // tried again with the next pass
		}
		f.provisioned = a
		return
	}
}

// beginOperation keeps the assignment that an operation brings about, so that its
// network is known when it has succeeded, whatever the plane sends meanwhile.
func (c *core) beginOperation(op *agentv1.Operation) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.facts.trial; t != nil {
		return fmt.Errorf("a change of the network is on trial until %s; the operation begins after it", t.rule.Deadline.UTC().Format(time.RFC3339))
	}
	a := c.facts.assignment
	if a == nil || a.msg.GetNodeDigest() != op.GetNodeDigest() {
		c.handOver(op, nil)
		return nil // root judges the operation; there is nothing to keep here
	}
	if err := c.cache.save(pendingFile, a); err != nil {
		return err
	}
	c.facts.pending = a
	c.handOver(op, a)
	return nil
}
