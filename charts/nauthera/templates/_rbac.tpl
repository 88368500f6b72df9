{{/*
What the operator may do where its objects are: in each namespace it looks after, or in the whole cluster. The only list
of its rights; every verb is one that it uses. Nothing here reaches further than a namespace, so the same rules make a
ClusterRole or Roles.

It creates Deployments and Jobs, so it can run any image under any ServiceAccount of these namespaces, and it reads and
writes their Secrets: RBAC cannot narrow either by label.
*/}}
{{- define "nauthera.rules" -}}
# What people declare. It is never created, changed or deleted by the operator, except for its status.
- apiGroups: [auth.nauthera.io]
  resources: [authservers, realms, clients]
  verbs: [list, watch]
- apiGroups: [auth.nauthera.io]
  resources: [authservers/status, realms/status, clients/status]
  verbs: [patch]
# Children of an AuthServer: found by label, or by name before they are created; applied; deleted when no longer wanted.
# Those of kinds that the cluster does not know are not asked for.
- apiGroups: [""]
  resources: [serviceaccounts, configmaps, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: [get, list, watch, create, patch, delete]
# The volume of an embedded database. It holds people's data, so the operator cannot delete it.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch]
# Secrets: those that objects name are read by name; its own (keys of realms, credentials of clients, compiled
# configuration, peer certificates) are found by label. Compiled configuration is created and replaced, never applied,
# so that a stale writer is refused. Keys and credentials cannot be made again, so the operator cannot delete them.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update, patch]
# Which pods serve, and whether they are ready: what "live everywhere" counts.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
# What happened to an object, once at each change.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* What needs the whole cluster. */}}
{{- define "nauthera.clusterRules" -}}
# Labels of namespaces, for selectors, and which of them are terminating.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
{{- end }}

{{/* What the operator may do in its own namespace, whatever it looks after. */}}
{{- define "nauthera.ownRules" -}}
# Who of the replicas writes. `create` cannot be narrowed by name.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "nauthera.name" . }}]
  verbs: [get, update]
# Its certificate authorities: one of the operators, one of each fleet.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update, patch]
{{- end }}
