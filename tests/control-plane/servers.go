package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	logs "k8s.io/component-base/logs/api/v1"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	controllersOptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	schedulerOptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

// Controllers that what we deploy and simulate needs.
var wanted = []string{
	"deployment-controller", "replicaset-controller", "statefulset-controller", "job-controller",
	"disruption-controller", "endpointslice-controller", "garbage-collector-controller", "namespace-controller",
	"node-lifecycle-controller", "persistentvolume-binder-controller", "persistentvolume-protection-controller",
	"persistentvolumeclaim-protection-controller", "pod-garbage-collector-controller", "resourcequota-controller",
	"root-ca-certificate-publisher-controller", "serviceaccount-controller", "serviceaccount-token-controller",
	"taint-eviction-controller", "ttl-after-finished-controller", "clusterrole-aggregation-controller",
}

// Starts API server, controller manager and scheduler. The two latter begin once the first answers; until then they wait
// for `answers`.
func startServers(ctx context.Context, s *settings, k *keys, etcd string, answers <-chan struct{}, failed chan<- error) {
	// Three programs in one set up their logs three times.
	logs.ReapplyHandling = logs.ReapplyHandlingIgnoreUnchanged
	run := func(name string, work func() error) {
		go func() {
			err := work()
			if ctx.Err() == nil {
				failed <- fmt.Errorf("%s ended: %v", name, err)
			}
		}()
	}
	command := apiserver.NewAPIServerCommand()
	command.SilenceUsage = true
	command.SetArgs([]string{
		"--etcd-servers=" + etcd,
		"--bind-address=" + s.listen, fmt.Sprintf("--secure-port=%d", s.port),
		// A loopback address can't be advertised; nothing here uses the service it would be advertised for.
		"--endpoint-reconciler-type=none",
		"--tls-cert-file=" + k.server, "--tls-private-key-file=" + k.serverKey, "--client-ca-file=" + k.ca,
		"--kubelet-client-certificate=" + k.kubelet, "--kubelet-client-key=" + k.kubeletKey,
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + k.account, "--service-account-signing-key-file=" + k.account,
		"--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=Node,RBAC", "--allow-privileged=true", "--profiling=false",
	})
	run("kube-apiserver", func() error { return command.ExecuteContext(ctx) })
	// The programs' own commands would each take over the signals; their parts do not.
	run("kube-controller-manager", func() error {
		select {
		case <-answers:
		case <-ctx.Done():
			return nil
		}
		known, off, aliases := controllers.KnownControllers(), controllers.ControllersDisabledByDefault(), controllers.ControllerAliases()
		options, err := controllersOptions.NewKubeControllerManagerOptions()
		if err != nil {
			return err
		}
		sets := options.Flags(known, off, aliases)
		if err := parse(sets.FlagSets,
			"--kubeconfig="+k.admin, "--leader-elect=false", "--secure-port=0",
			"--controllers="+strings.Join(wanted, ","),
			"--service-account-private-key-file="+k.account, "--root-ca-file="+k.ca,
			// Quick to see that a node is gone: tests wait for it.
			"--node-monitor-period=1s", "--node-monitor-grace-period=10s", "--pvclaimbinder-sync-period=2s",
		); err != nil {
			return err
		}
		config, err := options.Config(ctx, known, off, aliases)
		if err != nil {
			return err
		}
		return controllers.Run(ctx, config.Complete())
	})
	run("kube-scheduler", func() error {
		select {
		case <-answers:
		case <-ctx.Done():
			return nil
		}
		options := schedulerOptions.NewOptions()
		if err := parse(options.Flags.FlagSets, "--kubeconfig="+k.admin, "--leader-elect=false", "--secure-port=0"); err != nil {
			return err
		}
		config, made, err := scheduler.Setup(ctx, options)
		if err != nil {
			return err
		}
		return scheduler.Run(ctx, config, made)
	})
}

// Sets options as a command line would.
func parse(sets map[string]*pflag.FlagSet, args ...string) error {
	all := pflag.NewFlagSet("options", pflag.ContinueOnError)
	for _, set := range sets {
		all.AddFlagSet(set)
	}
	return all.Parse(args)
}
