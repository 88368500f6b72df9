{{/* The names are fixed: the operator finds its own Lease and Secrets by them, so one runs in a namespace. */}}
{{- define "nauthera.name" -}}nauthera-operator{{- end }}

{{/* Labels that select the operator's pods. */}}
{{- define "nauthera.selector" -}}
app.kubernetes.io/name: nauthera
app.kubernetes.io/component: operator
{{- end }}

{{/* Labels of every object. */}}
{{- define "nauthera.labels" -}}
{{ include "nauthera.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* repository@digest or repository:tag */}}
{{- define "nauthera.image" -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{- else }}{{ .repository }}:{{ required "a tag or a digest of the image is needed" .tag }}{{- end }}
{{- end }}
