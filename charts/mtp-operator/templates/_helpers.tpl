{{- define "mtp-operator.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.extraLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "mtp-operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/*
Name of what lies outside the release's namespace, so that releases of one name in several namespaces do not meet.
No namespace has a dot in its name, so no two releases get the same.
*/}}
{{- define "mtp-operator.clusterName" -}}
{{ .Release.Namespace }}.{{ .Release.Name }}
{{- end }}

{{- define "mtp-operator.serviceAccountName" -}}
{{ .Values.serviceAccount.name | default .Release.Name }}
{{- end }}

{{- define "mtp-operator.image" -}}
{{- $image := .Values.image -}}
{{ $image.repository }}{{ if or $image.tag (not $image.digest) }}:{{ $image.tag | default .Chart.AppVersion }}{{ end }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end }}
{{/* What the operator may do in a namespace that it watches. */}}
{{- define "mtp-operator.rules" -}}
- apiGroups: [mtp-operator.dev]
  resources: [mtpmodels]
  verbs: [get, list, watch]
- apiGroups: [mtp-operator.dev]
  resources: [mtptuningruns]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [mtp-operator.dev]
  resources: [mtpmodels/status, mtptuningruns/status]
  verbs: [patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [resource.k8s.io]
  resources: [resourceclaimtemplates]
  verbs: [get, create]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, create]
- apiGroups: [""]
  resources: [events]
  verbs: [list, create]
{{- end }}
