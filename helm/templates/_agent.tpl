{{- define "causeway.agent.config" -}}
{{- $values := .Values.agent -}}
node: '${NODE_NAME}'
outer_address: '${NODE_IP}'
pin_dir: /sys/fs/bpf/causeway
state_dir: {{ .Values.stateDir }}/agent
health_socket: /run/causeway/agent.health
gateway_socket: {{ .Values.stateDir }}/device/gateway.sock
gateways: ['causeway-gateway.{{ .Release.Namespace }}.svc:7444']
pools: {{ concat .Values.pools.vips .Values.pools.mappings | toJson }}
{{- with $values.uplink }}
uplink: {{ . }}
{{- end }}
{{- with $values.ports }}
ports: {{ toJson . }}
{{- end }}
{{- with $values.mtu }}
mtu: {{ . }}
{{- end }}
{{ include "causeway.enrolment.config" . }}
{{- end }}

{{/* What cleans a node, or checks that it is clean: {root, mode, program}. */}}
{{- define "causeway.agent.clean" -}}
{{- $words := list "clean" .mode "--config" "/etc/causeway/agent.yaml" -}}
{{- if .root.Values.uninstall.deleteState -}}
{{- $words = concat $words (list "--state" .root.Values.stateDir) -}}
{{- end -}}
{{- if .program -}}
{{- $words = prepend $words "/usr/bin/causeway-agent" -}}
{{- end -}}
{{ toJson $words }}
{{- end }}
