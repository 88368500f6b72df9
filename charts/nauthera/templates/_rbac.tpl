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
# Children of an AuthServer that are always there: found by label, or by name before they are created, and applied. They
# end with their AuthServer, by their owner reference.
- apiGroups: [""]
  resources: [serviceaccounts, configmaps, services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
# The volume of an embedded database. It holds people's data, so it outlives its AuthServer and cannot be deleted.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch]
# Children that come and go with what an AuthServer asks for, and migrations of former versions. Kinds that the cluster
# does not know are looked for, no more.
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
# Secrets. Those that objects name are read by name; its own are found by label. Keys, compiled configuration and peer
# certificates are created and replaced, never applied, so that a stale writer is refused; credentials beside a Client
# are applied, because others may add to them. Deleted is only the next value of a client secret, once it is in use.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update, patch, delete]
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
  verbs: [create]
{{- end }}

{{/* What needs the whole cluster. */}}
{{- define "nauthera.clusterRules" -}}
# Labels of namespaces, for selectors, and which of them are terminating.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
{{- end }}

{{/* What the operator may do in its own namespace, beyond what it may do in those that it looks after. */}}
{{- define "nauthera.ownRules" -}}
# Who of the replicas writes. `create` cannot be narrowed by name.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "nauthera.name" . }}]
  verbs: [get, update]
{{- if and .Values.watchNamespaces (not (has .Release.Namespace .Values.watchNamespaces)) }}
# Its certificate authorities: one of the operators, one of each fleet.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update]
{{- end }}
{{- end }}
