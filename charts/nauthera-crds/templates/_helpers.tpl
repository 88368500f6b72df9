{{/* Labels of every object; the argument is the root. */}}
{{- define "nauthera-crds.labels" -}}
app.kubernetes.io/name: nauthera
app.kubernetes.io/component: crds
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}
