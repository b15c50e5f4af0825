{{/* The name of what belongs to one named node's gateway. */}}
{{- define "causeway.gateway.name" -}}
{{- if .name -}}
{{- $full := printf "causeway-gateway-%s" (.name | replace "." "-") -}}
{{- if or (gt (len $full) 52) (contains "." .name) -}}
{{ printf "%s-%s" (trunc 43 $full | trimSuffix "-") (sha256sum .name | trunc 8) }}
{{- else -}}
{{ $full }}
{{- end -}}
{{- else -}}
causeway-gateway
{{- end -}}
{{- end }}

{{/* One gateway's configuration, but for what only its node knows. */}}
{{- define "causeway.gateway.config" -}}
{{- $expose := .root.Values.gateway.expose -}}
{{- $port := .node.port | default (eq $expose.type "NodePort" | ternary $expose.nodePort $expose.port) -}}
cluster: {{ .root.Values.cluster.name }}
clusterset: {{ .root.Values.cluster.set }}
leadership: controller
name: '${NODE_NAME}'
node: '${NODE_NAME}'
listen:
  session: '0.0.0.0:{{ $expose.port }}'
  local: '0.0.0.0:7444'
  socket: /run/causeway/gateway.sock
  device: {{ .root.Values.stateDir }}/device/gateway.sock
  dns: ['${NODE_IP}:7453']
  {{- if .root.Values.metrics.enabled }}
  metrics: '0.0.0.0:{{ .root.Values.metrics.port }}'
  {{- end }}
advertise:
  session: '{{ .node.address | default "${NODE_IP}" }}:{{ $port }}'
  local: '${NODE_IP}:7444'
  tunnel: '${NODE_IP}'
state_dir: {{ .root.Values.stateDir }}/gateway
{{ include "causeway.enrolment.config" .root }}
{{- end }}

{{- define "causeway.gateway.daemonset" -}}
{{- $values := .root.Values.gateway -}}
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {{ include "causeway.gateway.name" .node }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "causeway.labels" (dict "root" .root "component" "gateway") | nindent 4 }}
spec:
  selector:
    matchLabels:
      {{- include "causeway.selector" (dict "component" "gateway") | nindent 6 }}
      causeway.dev/gateway-set: {{ include "causeway.gateway.name" .node }}
  updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 1}}
  template:
    metadata:
      labels:
        {{- include "causeway.selector" (dict "component" "gateway") | nindent 8 }}
        causeway.dev/gateway-set: {{ include "causeway.gateway.name" .node }}
      annotations:
        kubectl.kubernetes.io/default-container: gateway
        causeway.dev/configuration: {{ include "causeway.gateway.config" . | sha256sum }}
        {{- with $values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: causeway-gateway
      automountServiceAccountToken: false
      priorityClassName: {{ $values.priorityClassName }}
      {{- with .root.Values.image.pullSecrets }}
      imagePullSecrets: {{ toJson . }}
      {{- end }}
      # Peers and agents dial the node's own address; packets keep their addresses.
      hostNetwork: true
      dnsPolicy: ClusterFirstWithHostNet
      terminationGracePeriodSeconds: 30
      {{- if .node.name }}
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
              - matchFields: [{key: metadata.name, operator: In, values: [{{ .node.name }}]}]
      {{- else }}
      nodeSelector: {causeway.dev/gateway: "true"}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations: {{ toJson . }}
      {{- end }}
      containers:
        - name: gateway
          image: {{ include "causeway.image" .root }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          command: [/usr/bin/causeway-gateway]
          args: [--config, /etc/causeway/gateway.yaml]
          env:
            - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
            - {name: NODE_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
            - {name: RUST_LOG, value: {{ .root.Values.log | quote }}}
          ports:
            - {name: session, containerPort: {{ $values.expose.port }}, protocol: UDP}
            - {name: session-tcp, containerPort: {{ $values.expose.port }}, protocol: TCP}
            - {name: local, containerPort: 7444, protocol: TCP}
            - {name: dns, containerPort: 7453, protocol: UDP}
            - {name: dns-tcp, containerPort: 7453, protocol: TCP}
            {{- if .root.Values.metrics.enabled }}
            - {name: metrics, containerPort: {{ .root.Values.metrics.port }}, protocol: TCP}
            {{- end }}
          {{- include "causeway.probes" (dict "component" "gateway") | nindent 10 }}
          resources: {{ toJson $values.resources }}
          # The files below the node's directory are root's; nothing that needs a capability is done.
          securityContext:
            runAsUser: 0
            runAsGroup: 0
            {{- include "causeway.confined" . | nindent 12 }}
          volumeMounts:
            - {name: config, mountPath: /etc/causeway/gateway.yaml, subPath: gateway.yaml, readOnly: true}
            - {name: state, mountPath: {{ .root.Values.stateDir }}/gateway}
            - {name: device, mountPath: {{ .root.Values.stateDir }}/device}
            - {name: run, mountPath: /run/causeway}
            {{- include "causeway.enrolment.mounts" . | nindent 12 }}
      volumes:
        - name: config
          configMap:
            name: causeway-gateway
            items: [{key: {{ .node.name | default "gateway" }}.yaml, path: gateway.yaml}]
        - name: state
          hostPath: {path: {{ .root.Values.stateDir }}/gateway, type: DirectoryOrCreate}
        # Where the agent of the node hands over the device by which encrypted packets come.
        - name: device
          hostPath: {path: {{ .root.Values.stateDir }}/device, type: DirectoryOrCreate}
        - name: run
          emptyDir: {medium: Memory, sizeLimit: 1Mi}
        {{- include "causeway.enrolment.volumes" . | nindent 8 }}
{{- end }}
