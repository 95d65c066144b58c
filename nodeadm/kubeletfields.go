package nodeadm

import "strings"

// kubeletFields are the fields of KubeletConfiguration and the kind of each by its
// path (k8s.io/kubelet v0.37.0, config/v1beta1/types.go; none was ever taken away).
// The type itself would bring k8s.io/api into root's program, some megabytes of it.
// A list is "[]" and its element's kind, a mapping "map:" and its values'; interval
// is a duration or nanoseconds.
func kubeletFields() map[string]string {
	fields := map[string]string{}
	for kind, paths := range map[string]string{
		"[]int32":  `tlsCurvePreferences`,
		"[]object": `logging.vmodule registerWithTaints reservedMemory shutdownGracePeriodByPodPriority`,
		"[]string": `allowedUnsafeSysctls clusterDNS enforceNodeAllocatable preloadedImagesVerificationAllowlist tlsCipherSuites`,
		"bool": `authentication.anonymous.enabled authentication.webhook.enabled cgroupsPerQOS cpuCFSQuota enableContentionProfiling
			enableControllerAttachDetach enableDebugFlagsHandler enableDebuggingHandlers enableProfilingHandler enableServer
			enableSystemLogHandler enableSystemLogQuery failCgroupV1 failSwapOn kernelMemcgNotification localStorageCapacityIsolation
			logging.options.json.splitStream logging.options.text.splitStream makeIPTablesUtilChains mergeDefaultEvictionSettings
			protectKernelDefaults registerNode rotateCertificates runOnce seccompDefault serializeImagePulls serverTLSBootstrap
			singleProcessOOMKill`,
		"duration": `authentication.webhook.cacheTTL authorization.webhook.cacheAuthorizedTTL authorization.webhook.cacheUnauthorizedTTL
			containerLogMonitorInterval cpuCFSQuotaPeriod cpuManagerReconcilePeriod crashLoopBackOff.maxContainerRestartPeriod
			evictionPressureTransitionPeriod fileCheckFrequency httpCheckFrequency imageMaximumGCAge imageMinimumGCAge
			nodeStatusReportFrequency nodeStatusUpdateFrequency runtimeRequestTimeout shutdownGracePeriod shutdownGracePeriodCriticalPods
			streamingConnectionIdleTimeout syncFrequency volumeStatsAggPeriod`,
		"int32": `containerLogMaxFiles containerLogMaxWorkers eventBurst eventRecordQPS evictionMaxPodGracePeriod healthzPort
			imageGCHighThresholdPercent imageGCLowThresholdPercent iptablesDropBit iptablesMasqueradeBit kubeAPIBurst kubeAPIQPS
			maxParallelImagePulls maxPods nodeLeaseDurationSeconds nodeStatusMaxImages oomScoreAdj podsPerCore port readOnlyPort
			registryBurst registryPullQPS reservedMemory.numaNode shutdownGracePeriodByPodPriority.priority
			tracing.samplingRatePerMillion`,
		"int64":        `maxOpenFiles podPidsLimit shutdownGracePeriodByPodPriority.shutdownGracePeriodSeconds userNamespaces.idsPerPod`,
		"interval":     `logging.flushFrequency`,
		"map:[]string": `staticPodURLHeader`,
		"map:bool":     `featureGates`,
		"map:quantity": `reservedMemory.limits`,
		"map:string": `cpuManagerPolicyOptions defaultPodSysctls evictionHard evictionMinimumReclaim evictionSoft evictionSoftGracePeriod
			kubeReserved qosReserved systemReserved topologyManagerPolicyOptions`,
		"number": `memoryThrottlingFactor`,
		"object": `authentication authentication.anonymous authentication.webhook authentication.x509 authorization authorization.webhook
			crashLoopBackOff logging logging.options logging.options.json logging.options.text memorySwap tracing userNamespaces`,
		"quantity": `logging.options.json.infoBufferSize logging.options.text.infoBufferSize`,
		"string": `address apiVersion authentication.x509.clientCAFile authorization.mode cgroupDriver cgroupRoot clusterDomain
			configMapAndSecretChangeDetectionStrategy containerLogMaxSize containerRuntimeEndpoint contentType cpuManagerPolicy
			hairpinMode healthzBindAddress imagePullCredentialsVerificationPolicy imageServiceEndpoint kind kubeReservedCgroup
			kubeletCgroups logging.format logging.vmodule.filePattern memoryManagerPolicy memoryReservationPolicy memorySwap.swapBehavior
			podCIDR podLogsDir providerID registerWithTaints.effect registerWithTaints.key registerWithTaints.timeAdded
			registerWithTaints.value reservedSystemCPUs resolvConf showHiddenMetricsForVersion staticPodPath staticPodURL systemCgroups
			systemReservedCgroup tlsCertFile tlsMinVersion tlsPrivateKeyFile topologyManagerPolicy topologyManagerScope tracing.endpoint
			volumePluginDir`,
		"uint32": `logging.verbosity logging.vmodule.verbosity`,
	} {
		for _, path := range strings.Fields(paths) {
			fields[path] = kind
		}
	}
	return fields
}
