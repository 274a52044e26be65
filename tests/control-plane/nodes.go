package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// How simulated nodes and pods behave.
//
//go:embed stages.yaml
var stages string

// Waits for the API server, starts the simulation, makes the nodes and waits until they are ready.
func bringUp(ctx context.Context, s *settings, k *keys, answers func(), simulate func() error) error {
	config, err := clientcmd.BuildConfigFromFlags("", k.admin)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	until := func(what string, done func() bool) error {
		for !done() {
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s: not after %s", what, patience)
			case <-time.After(50 * time.Millisecond):
			}
		}
		return nil
	}
	ready := func() bool {
		return client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil
	}
	if err := until("the API server answers", ready); err != nil {
		return err
	}
	answers()
	if err := simulate(); err != nil {
		return fmt.Errorf("kwok: %w", err)
	}
	for _, n := range s.nodes {
		if err := makeNode(ctx, client, n); err != nil {
			return fmt.Errorf("node %s: %w", n.name, err)
		}
	}
	viewers := &rbac.ClusterRoleBinding{
		ObjectMeta: meta.ObjectMeta{Name: "viewers"},
		RoleRef:    rbac.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbac.Subject{{APIGroup: "rbac.authorization.k8s.io", Kind: "Group", Name: "viewers"}},
	}
	if _, err := client.RbacV1().ClusterRoleBindings().Create(ctx, viewers, meta.CreateOptions{}); err != nil && !errors.IsAlreadyExists(err) {
		return err
	}
	if err := until("all nodes are ready", func() bool { return allReady(ctx, client, len(s.nodes)) }); err != nil {
		return err
	}
	return until("the namespace default has its account", func() bool {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", meta.GetOptions{})
		return err == nil
	})
}

func allReady(ctx context.Context, client kubernetes.Interface, wanted int) bool {
	list, err := client.CoreV1().Nodes().List(ctx, meta.ListOptions{})
	if err != nil {
		return false
	}
	ready := 0
	for _, n := range list.Items {
		for _, c := range n.Status.Conditions {
			if c.Type == core.NodeReady && c.Status == core.ConditionTrue && len(n.Spec.Taints) == 0 {
				ready++
			}
		}
	}
	return ready >= wanted
}

func makeNode(ctx context.Context, client kubernetes.Interface, n node) error {
	made, err := client.CoreV1().Nodes().Create(ctx, &core.Node{
		ObjectMeta: meta.ObjectMeta{
			Name:        n.name,
			Labels:      map[string]string{core.LabelHostname: n.name, core.LabelOSStable: "linux", core.LabelArchStable: "amd64"},
			Annotations: map[string]string{"kwok.x-k8s.io/node": "fake"},
		},
	}, meta.CreateOptions{})
	if errors.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		return err
	}
	// A host such as AIStore runs on.
	resources := core.ResourceList{
		core.ResourceCPU: resource.MustParse("64"), core.ResourceMemory: resource.MustParse("256Gi"),
		core.ResourcePods: resource.MustParse("110"), core.ResourceEphemeralStorage: resource.MustParse("1Ti"),
	}
	for {
		made.Status.Capacity, made.Status.Allocatable = resources, resources
		made.Status.Addresses = []core.NodeAddress{{Type: core.NodeInternalIP, Address: n.address}, {Type: core.NodeHostName, Address: n.name}}
		made.Status.DaemonEndpoints = core.NodeDaemonEndpoints{KubeletEndpoint: core.DaemonEndpoint{Port: 10250}}
		_, err = client.CoreV1().Nodes().UpdateStatus(ctx, made, meta.UpdateOptions{})
		if !errors.IsConflict(err) {
			return err
		}
		// The simulation was quicker: once more, on what it wrote.
		if made, err = client.CoreV1().Nodes().Get(ctx, n.name, meta.GetOptions{}); err != nil {
			return err
		}
	}
}

// Starts kwok; it ends with us.
func startKwok(ctx context.Context, s *settings, k *keys, failed chan<- error) error {
	path := filepath.Join(s.folder, "stages.yaml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(stages, "POD_IP", s.podIP)), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(s.folder, "kwok.log"))
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, s.kwok, "--kubeconfig="+k.admin, "--config="+path,
		"--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake", "--node-lease-duration-seconds=8", "--server-address=")
	command.Stdout, command.Stderr = log, log
	command.Dir = s.folder
	command.Env = append(os.Environ(), "HOME="+s.folder)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return err
	}
	go func() {
		err := command.Wait()
		if ctx.Err() == nil {
			failed <- fmt.Errorf("kwok ended: %v (see %s)", err, log.Name())
		}
	}()
	return nil
}
