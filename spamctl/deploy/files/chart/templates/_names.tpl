{{- define "labels" -}}
app.kubernetes.io/name: spamctl
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: serve
{{- end }}
