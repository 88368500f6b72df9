// cert-manager runs those controllers of cert-manager that issue certificates inside a cluster: Issuers and
// ClusterIssuers of the kinds ca and selfSigned. The project's own program is not a Go module that can be
// built from here; this one starts the very same controllers from the packages that it is made of.
//
//	cert-manager --kubeconfig FILE [--cluster-resource-namespace NAMESPACE]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/cert-manager/cert-manager/pkg/controller"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
)

// Each controller works on so many objects at once.
const workers = 2

func run(ctx context.Context, options controller.ContextOptions) error {
	factory, err := controller.NewContextFactory(ctx, options)
	if err != nil {
		return fmt.Errorf("talking to the cluster: %w", err)
	}
	started := map[string]controller.Interface{}
	for name, construct := range controller.Known() {
		if started[name], err = construct(factory); err != nil {
			return fmt.Errorf("constructing the controller %s: %w", name, err)
		}
	}
	// Informers belong to all controllers, so they start once every controller has asked for its own.
	shared, err := factory.Build()
	if err != nil {
		return fmt.Errorf("starting the informers: %w", err)
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	shared.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())

	var running sync.WaitGroup
	failed := make(chan error, len(started))
	for name, one := range started {
		running.Go(func() {
			if err := one.Run(workers, ctx); err != nil {
				failed <- fmt.Errorf("running the controller %s: %w", name, err)
			}
		})
	}
	ended := make(chan struct{})
	go func() { running.Wait(); close(ended) }()
	select {
	case err := <-failed:
		return err
	case <-ended:
		return nil
	}
}

func main() {
	var options controller.ContextOptions
	flag.StringVar(&options.Kubeconfig, "kubeconfig", "", "how to reach the cluster")
	flag.StringVar(&options.ClusterResourceNamespace, "cluster-resource-namespace", "kube-system", "where the Secrets of ClusterIssuers are")
	flag.Parse()
	options.KubernetesAPIQPS, options.KubernetesAPIBurst = 100, 200
	// Tests wait for what is tried again.
	options.CertificateRequestMinimumBackoffDuration = time.Second
	options.CertificateRequestMaximumBackoffDuration = 10 * time.Second

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, options); err != nil {
		fmt.Fprintln(os.Stderr, "cert-manager:", err)
		os.Exit(1)
	}
}
