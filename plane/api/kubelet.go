package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"hybridagent/plane/manifest"
)

// nearField is how many letters may differ for a field to be a mistyped one.
const nearField = 2

// kubeletFields refuses fields of kubelet's configuration that are mistyped: kubelet
// does not start with one. A field that resembles none is let pass, since newer
// versions of Kubernetes have more; the host checks it before anything is changed.
func kubeletFields(v *violations, path string, config map[string]any) {
	known := kubeletNames()
	for _, name := range slices.Sorted(maps.Keys(config)) {
		if slices.Contains(known, name) || name == "apiVersion" || name == "kind" {
			continue
		}
		for _, k := range known {
			if strings.EqualFold(k, name) || len(name) > 2*nearField && manifest.Distance(strings.ToLower(k), strings.ToLower(name)) <= nearField {
				v.add(fmt.Sprintf("%s.%s", path, name), "is no field of kubelet's configuration; did you mean %s?", k)
				break
			}
		}
	}
}

// kubeletNames are the fields of KubeletConfiguration, kubelet.config.k8s.io/v1beta1
// (k8s.io/kubelet v0.34, config/v1beta1/types.go).
func kubeletNames() []string {
	return []string{
		"address", "allowedUnsafeSysctls", "authentication", "authorization", "cgroupDriver", "cgroupRoot", "cgroupsPerQOS", "clusterDNS", "clusterDomain",
		"configMapAndSecretChangeDetectionStrategy", "containerLogMaxFiles", "containerLogMaxSize", "containerLogMaxWorkers",
		"containerLogMonitorInterval", "containerRuntimeEndpoint", "contentType", "cpuCFSQuota", "cpuCFSQuotaPeriod", "cpuManagerPolicy",
		"cpuManagerPolicyOptions", "cpuManagerReconcilePeriod", "crashLoopBackOff", "enableContentionProfiling", "enableControllerAttachDetach",
		"enableDebugFlagsHandler", "enableDebuggingHandlers", "enableProfilingHandler", "enableServer", "enableSystemLogHandler", "enableSystemLogQuery",
		"enforceNodeAllocatable", "eventBurst", "eventRecordQPS", "evictionHard", "evictionMaxPodGracePeriod", "evictionMinimumReclaim",
		"evictionPressureTransitionPeriod", "evictionSoft", "evictionSoftGracePeriod", "failCgroupV1", "failSwapOn", "featureGates", "fileCheckFrequency",
		"hairpinMode", "healthzBindAddress", "healthzPort", "httpCheckFrequency", "imageGCHighThresholdPercent", "imageGCLowThresholdPercent",
		"imageMaximumGCAge", "imageMinimumGCAge", "imagePullCredentialsVerificationPolicy", "imageServiceEndpoint", "iptablesDropBit",
		"iptablesMasqueradeBit", "kernelMemcgNotification", "kubeAPIBurst", "kubeAPIQPS", "kubeReserved", "kubeReservedCgroup", "kubeletCgroups",
		"localStorageCapacityIsolation", "logging", "makeIPTablesUtilChains", "maxOpenFiles", "maxParallelImagePulls", "maxPods", "memoryManagerPolicy",
		"memorySwap", "memoryThrottlingFactor", "mergeDefaultEvictionSettings", "nodeLeaseDurationSeconds", "nodeStatusMaxImages",
		"nodeStatusReportFrequency", "nodeStatusUpdateFrequency", "oomScoreAdj", "podCIDR", "podLogsDir", "podPidsLimit", "podsPerCore", "port",
		"preloadedImagesVerificationAllowlist", "protectKernelDefaults", "providerID", "qosReserved", "readOnlyPort", "registerNode", "registerWithTaints",
		"registryBurst", "registryPullQPS", "reservedMemory", "reservedSystemCPUs", "resolvConf", "rotateCertificates", "runOnce", "runtimeRequestTimeout",
		"seccompDefault", "serializeImagePulls", "serverTLSBootstrap", "showHiddenMetricsForVersion", "shutdownGracePeriod",
		"shutdownGracePeriodByPodPriority", "shutdownGracePeriodCriticalPods", "singleProcessOOMKill", "staticPodPath", "staticPodURL",
		"staticPodURLHeader", "streamingConnectionIdleTimeout", "syncFrequency", "systemCgroups", "systemReserved", "systemReservedCgroup", "tlsCertFile",
		"tlsCipherSuites", "tlsMinVersion", "tlsPrivateKeyFile", "topologyManagerPolicy", "topologyManagerPolicyOptions", "topologyManagerScope",
		"tracing", "userNamespaces", "volumePluginDir", "volumeStatsAggPeriod",
	}
}
