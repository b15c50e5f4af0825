{{/* Labels of every object. `app.kubernetes.io/managed-by` is Helm's: what the controller writes has its own. */}}
{{- define "causeway.labels" -}}
{{ include "causeway.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What never changes: selectors may not. */}}
{{- define "causeway.selector" -}}
app.kubernetes.io/name: causeway
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "causeway.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* `off` without quotes is a boolean to YAML. */}}
{{- define "causeway.encryption" -}}
{{ eq (toString .) "false" | ternary "off" (toString .) }}
{{- end }}

{{/* Hooks and what they need come and go with each run; what failed is left for its log. */}}
{{- define "causeway.hook" -}}
helm.sh/hook: {{ .events }}
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* No container needs more; those that do say so beside this. */}}
{{- define "causeway.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "causeway.nobody" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* The token that the controller reviews, and the certificate that proves the controller. */}}
{{- define "causeway.enrolment.volumes" -}}
- name: token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: {audience: causeway, expirationSeconds: 3600, path: token}
- name: enrolment
  configMap: {name: causeway-enrolment}
{{- end }}

{{- define "causeway.enrolment.mounts" -}}
- {name: token, mountPath: /var/run/secrets/causeway, readOnly: true}
- {name: enrolment, mountPath: /etc/causeway/enrolment, readOnly: true}
{{- end }}

{{- define "causeway.enrolment.config" -}}
enrolment:
  controller: causeway-controller.{{ .Release.Namespace }}.svc:7445
  token_file: /var/run/secrets/causeway/token
  ca_file: /etc/causeway/enrolment/ca.crt
{{- end }}

{{/* Probes run the program itself: it knows what ready means, and no port is opened for it. */}}
{{- define "causeway.probes" -}}
{{- $health := printf "[/usr/bin/causeway-%s, health, --config, /etc/causeway/%s.yaml" .component .component -}}
startupProbe:
  exec: {command: {{ $health }}, --live]}
  periodSeconds: 1
  timeoutSeconds: 5
  failureThreshold: 120
readinessProbe:
  exec: {command: {{ $health }}, --ready]}
  periodSeconds: 3
  timeoutSeconds: 5
livenessProbe:
  exec: {command: {{ $health }}, --live]}
  periodSeconds: 20
  timeoutSeconds: 10
{{- end }}

{{/* Arguments of hooks that touch CoreDNS. */}}
{{- define "causeway.coredns" -}}
- --coredns-namespace={{ .Values.dns.coredns.namespace }}
- --coredns-configmap={{ .Values.dns.coredns.configMap }}
- --coredns-key={{ .Values.dns.coredns.key }}
- --coredns-deployment={{ .Values.dns.coredns.deployment }}
{{- end }}

{{/* A Job, or a test's pod: {root, name, args, mounts, volumes}. */}}
{{- define "causeway.hook.pod" -}}
serviceAccountName: {{ .name }}
restartPolicy: Never
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with .root.Values.hooks.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .root.Values.hooks.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
securityContext:
  {{- include "causeway.nobody" . | nindent 2 }}
containers:
  - name: hook
    image: {{ include "causeway.image" .root }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    command: [/usr/bin/causeway-controller, hook]
    args:
      {{- .args | nindent 6 }}
      - --deadline={{ .root.Values.hooks.deadlineSeconds }}
    env:
      - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
      - {name: RUST_LOG, value: {{ .root.Values.log | quote }}}
    resources: {{ toJson .root.Values.hooks.resources }}
    securityContext:
      {{- include "causeway.confined" . | nindent 6 }}
    {{- with .file }}
    volumeMounts:
      - {name: file, mountPath: /etc/causeway, readOnly: true}
    {{- end }}
{{- with .file }}
volumes:
  - name: file
    configMap: {name: {{ . }}}
{{- end }}
{{- end }}

{{/* A service account with a role in the whole cluster and roles in namespaces, all of them hooks:
     {root, name, events, cluster: RULES, namespaces: {NAMESPACE: RULES}}. */}}
{{- define "causeway.hook.account" -}}
{{- $head := dict "events" .events "weight" -10 }}
{{- $labels := include "causeway.labels" (dict "root" .root "component" "hook") }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- $labels | nindent 4 }}
  annotations:
    {{- include "causeway.hook" $head | nindent 4 }}
{{- if .cluster }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ .name }}
  labels:
    {{- $labels | nindent 4 }}
  annotations:
    {{- include "causeway.hook" $head | nindent 4 }}
rules:
  {{- .cluster | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ .name }}
  labels:
    {{- $labels | nindent 4 }}
  annotations:
    {{- include "causeway.hook" $head | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ .name }}}
subjects:
  - {kind: ServiceAccount, name: {{ .name }}, namespace: {{ .root.Release.Namespace }}}
{{- end }}
{{- $name := .name }}
{{- $own := .root.Release.Namespace }}
{{- range $namespace, $rules := .namespaces }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $name }}
  namespace: {{ $namespace }}
  labels:
    {{- $labels | nindent 4 }}
  annotations:
    {{- include "causeway.hook" $head | nindent 4 }}
rules:
  {{- $rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $name }}
  namespace: {{ $namespace }}
  labels:
    {{- $labels | nindent 4 }}
  annotations:
    {{- include "causeway.hook" $head | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ $name }}}
subjects:
  - {kind: ServiceAccount, name: {{ $name }}, namespace: {{ $own }}}
{{- end }}
{{- end }}

{{/* A Job that is a hook: {root, name, events, args, file}. */}}
{{- define "causeway.hook.job" -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "causeway.labels" (dict "root" .root "component" "hook") | nindent 4 }}
  annotations:
    {{- include "causeway.hook" (dict "events" .events "weight" 0) | nindent 4 }}
spec:
  backoffLimit: 2
  activeDeadlineSeconds: {{ add (mul .root.Values.hooks.deadlineSeconds 2) 60 }}
  template:
    metadata:
      labels:
        {{- include "causeway.selector" (dict "component" "hook") | nindent 8 }}
    spec:
      {{- include "causeway.hook.pod" . | nindent 6 }}
{{- end }}
