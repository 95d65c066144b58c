package door

import (
	"context"
	"net"

	"go.uber.org/zap"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// answer carries out a request that has one reply. None of them does what only a
// signature may ask for.
func (d *Door) answer(ctx context.Context, conn net.Conn, request any) (*agentv1.DoorReply, error) {
	switch request := request.(type) {
	case *agentv1.DoorRequest_NodeKeyCsr:
		csr, err := d.opt.NodeKeyCSR()
		return &agentv1.DoorReply{Reply: &agentv1.DoorReply_NodeKeyCsr{NodeKeyCsr: &agentv1.NodeKeyCSRReply{Csr: csr}}}, d.served("node_key_csr", err)
	case *agentv1.DoorRequest_InstallNodeCertificate:
		err := d.opt.InstallNodeCertificate(request.InstallNodeCertificate.GetCertificate())
		return &agentv1.DoorReply{Reply: &agentv1.DoorReply_InstallNodeCertificate{
			InstallNodeCertificate: &agentv1.InstallNodeCertificateReply{}}}, d.served("install_node_certificate", err)
	case *agentv1.DoorRequest_EraseToken:
		return &agentv1.DoorReply{Reply: &agentv1.DoorReply_EraseToken{EraseToken: &agentv1.EraseTokenReply{}}},
			d.served("erase_token", d.opt.EraseToken())
	case *agentv1.DoorRequest_ReadNodeState:
		state, err := d.opt.ReadNodeState(ctx)
		return &agentv1.DoorReply{Reply: &agentv1.DoorReply_NodeState{NodeState: state}}, err
	case *agentv1.DoorRequest_Forecast:
		forecast, err := d.forecast(ctx, conn, request.Forecast)
		return &agentv1.DoorReply{Reply: &agentv1.DoorReply_Forecast{Forecast: forecast}}, err
	case *agentv1.DoorRequest_SetNodeLabels:
		reply, err := d.setNodeLabels(ctx, request.SetNodeLabels.GetLabels())
		return &agentv1.DoorReply{Reply: &agentv1.DoorReply_SetNodeLabels{SetNodeLabels: reply}}, err
	case *agentv1.DoorRequest_NudgeSsmAgent:
		restarted, err := d.nudge(ctx)
		return &agentv1.DoorReply{Reply: &agentv1.DoorReply_NudgeSsmAgent{NudgeSsmAgent: &agentv1.NudgeSSMAgentReply{Restarted: restarted}}}, err
	default:
		return nil, operation.UnknownRequest()
	}
}

// served logs a request that changed something.
func (d *Door) served(kind string, err error) error {
	if err == nil {
		d.log.Info("request served", zap.String("request", kind))
	}
	return err
}

// forecast makes one forecast at a time, and only for a peer that waits for it.
func (d *Door) forecast(ctx context.Context, conn net.Conn, request *agentv1.ForecastRequest) (*agentv1.Forecast, error) {
	if d.opt.Forecast == nil {
		return nil, operation.UnknownRequest()
	}
	if err := operation.CheckForecast(request); err != nil {
		return nil, err
	}
	if err := spend(d.costs.forecast); err != nil {
		return nil, err
	}
	watched, done := watch(ctx, conn)
	defer done()
	watched, cancel := context.WithTimeout(watched, forecastLimit)
	defer cancel()
	select {
	case d.costs.forecasting <- struct{}{}:
		defer func() { <-d.costs.forecasting }()
	default:
		return nil, operation.Refuse(busy, "another forecast is being made; try again in a moment")
	}
	return d.opt.Forecast(watched, request)
}

func (d *Door) setNodeLabels(ctx context.Context, labels map[string]string) (*agentv1.SetNodeLabelsReply, error) {
	if d.opt.SetNodeLabels == nil {
		return nil, operation.UnknownRequest()
	}
	if err := operation.CheckLabels(labels); err != nil {
		return nil, err
	}
	if err := spend(d.costs.labels); err != nil {
		return nil, err
	}
	reply, err := d.opt.SetNodeLabels(ctx, labels)
	if reply.GetChanged() {
		d.log.Info("labels of the Node changed", zap.Int("labels", len(labels)), zap.Strings("restricted", reply.GetRestricted()))
	}
	return reply, err
}

func (d *Door) nudge(ctx context.Context) (bool, error) {
	if d.opt.NudgeSSMAgent == nil {
		return false, operation.UnknownRequest()
	}
	if err := spend(d.costs.nudge); err != nil {
		return false, err
	}
	restarted, err := d.opt.NudgeSSMAgent(ctx)
	if restarted {
		_ = d.served("nudge_ssm_agent", nil)
	}
	return restarted, err
}
