{{- define "causeway.controller.config" -}}
cluster: {{ .Values.cluster.name }}
name: '${POD_NAME}'
namespace: '${POD_NAMESPACE}'
state_dir: /var/lib/causeway
{{- end }}
